// Goes through `anteroom demo` with Chromium as a person would, and looks at
// every page on the way: accessibility by axe-core in light and dark, what the
// browser complains about, and a screenshot at two widths.
//
//   node demo.mjs '{"url":"http://localhost:8000/","user":"…","password":"…","out":"dir","prefix":"oidc"}'
//
// Prints one JSON object: {"pages":[{name,url,status,text,violations}],"complaints":[…]}.
import axe from 'axe-core';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const o = JSON.parse(process.argv[2]);
const site = new URL(o.url).origin;
mkdirSync(o.out, { recursive: true });

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await (await browser.newContext({ locale: 'en-GB' })).newPage();
page.setDefaultTimeout(15_000);

const seen = { pages: [], complaints: [] };
page.on('pageerror', (e) => seen.complaints.push(`${page.url()}: ${e.message}`));
page.on('console', (m) => {
  // A refusal that is looked at on purpose is no complaint.
  if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) seen.complaints.push(`${page.url()}: ${m.text()}`);
});

// show turns the page light or dark and waits until colours have settled.
async function show(colorScheme) {
  await page.emulateMedia({ colorScheme });
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((a) => a.finished)));
}

async function violations(scheme) {
  await show(scheme);
  await page.evaluate(axe.source); // not a script element: the page's CSP stays in force
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map((v) => ({ scheme, id: v.id, impact: v.impact, where: v.nodes.map((n) => n.target.join(' ')).slice(0, 5) }));
}

async function look(name, response) {
  await page.waitForLoadState('networkidle');
  const found = [...await violations('light'), ...await violations('dark')];
  for (const [scheme, width, height] of [['dark', 1280, 800], ['light', 1280, 800], ['light', 390, 844]]) {
    await show(scheme);
    await page.setViewportSize({ width, height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) seen.complaints.push(`${name}: ${wide} px wider than a window of ${width} px`);
    await page.screenshot({ path: join(o.out, `${o.prefix}-${name}-${width}${scheme === 'dark' ? '-dark' : ''}.png`), fullPage: true, animations: 'disabled' });
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  seen.pages.push({ name, url: page.url(), status: response?.status() ?? 0, text: await page.innerText('body'), violations: found });
}

// signIn does what the pretend Nextcloud's pages ask for.
async function signIn() {
  for (let step = 0; step < 6 && new URL(page.url()).origin !== site; step++) {
    if (await page.locator('input[name=password]').count()) {
      await look(`nextcloud-${step}-login`);
      await page.fill('input[name=user]', o.user);
      await page.fill('input[name=password]', o.password);
      await leave(() => page.press('input[name=password]', 'Enter'));
    } else if (await page.locator('form button, form input[type=submit]').count()) {
      await look(`nextcloud-${step}-grant`);
      await leave(() => page.locator('form button, form input[type=submit]').first().click());
    } else if (await page.getByRole('link', { name: /log in/i }).count()) {
      await look(`nextcloud-${step}-connect`);
      await leave(() => page.getByRole('link', { name: /log in/i }).first().click());
    } else {
      await page.waitForURL((u) => u.origin === site || !u.pathname.endsWith('/redirect'));
    }
  }
}

// leave does something that leads to another page, and waits for that.
async function leave(act) {
  const left = page.waitForEvent('framenavigated', (f) => f === page.mainFrame());
  await act();
  await left;
  await page.waitForLoadState('networkidle');
}

// connect grants an app password in a tab of its own, and has the page here go
// on by itself; the person's files can be read with the browser's session then.
async function connect() {
  await leave(() => page.getByRole('button', { name: /connect with nextcloud/i }).click());
  await look('connecting');
  const opened = page.waitForEvent('popup');
  await page.locator('ol.steps a.button').click();
  const tab = await opened;
  await tab.getByRole('link', { name: /log in/i }).click();
  await tab.getByRole('button', { name: /grant/i }).click();
  await tab.getByText('now be connected').waitFor();
  await tab.close();
  await page.waitForURL((u) => u.pathname === '/auth/');
  await look('connected');
  const files = await page.context().request.fetch(`${site}/dav/files/${o.user}/`, { method: 'PROPFIND', headers: { Depth: '1' } });
  if (files.status() !== 207 || !(await files.text()).includes(`/dav/files/${o.user}/Welcome.md`)) {
    seen.complaints.push(`connected, but their files are ${files.status()}: ${await files.text()}`);
  }
}

try {
  await page.goto(o.url);
  await page.waitForLoadState('networkidle');
  await signIn();
  await look('application');
  await look('account', await page.goto(`${site}/auth/`));
  await connect();
  await look('signout-ask', await page.goto(`${site}/auth/logout`));
  await leave(() => page.locator('form[method=post] button, form[method=post] input[type=submit]').first().click());
  for (let step = 0; step < 3 && new URL(page.url()).origin !== site; step++) await page.waitForURL((u) => u.origin === site);
  await look('signed-out');
  await look('signin-failed', await page.goto(`${site}/auth/callback?state=forged&code=forged`));
  await look('bad-path', await page.goto(`${site}/auth/logout/..%2f..%2f%00`));
} catch (error) {
  seen.complaints.push(`at ${page.url()}: ${error.stack}`);
  await page.screenshot({ path: join(o.out, `${o.prefix}-stopped.png`) }).catch(() => {});
}
console.log(JSON.stringify(seen));
await browser.close();

// Goes through a front proxy that asks Anteroom, with Chromium as a person
// would: signs in, arrives, is refused. Prints {"at":[url …],"status":n,"corners":"…",
// "complaints":[…]}: where it was, what the refusal was, whether it has our style.
//
//   node front.mjs '{"wanted":"http://…","refused":"http://…","user":"…","password":"…","shot":"file.png"}'
import { chromium } from 'playwright-core';

const o = JSON.parse(process.argv[2]);
const site = new URL(o.wanted).origin;
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.front.test 127.0.0.1'],
});
const page = await (await browser.newContext({ locale: 'en-GB' })).newPage();
page.setDefaultTimeout(15_000);
const seen = { at: [], status: 0, corners: '', complaints: [] };
page.on('console', (m) => {
  if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) seen.complaints.push(`${page.url()}: ${m.text()}`);
});

await page.goto(o.wanted);
for (let step = 0; step < 8 && new URL(page.url()).origin !== site; step++) {
  seen.at.push(page.url());
  if (await page.locator('input[type=password]').count()) {
    await page.fill('input[name=user]', o.user);
    await page.fill('input[type=password]', o.password);
  }
  const here = page.url();
  const button = page.locator('button[type=submit], input[type=submit]').first();
  if (await button.count()) await button.click();
  await page.waitForURL((u) => u.href !== here);
  await page.waitForLoadState('load');
}
seen.at.push(page.url());
const response = await page.goto(o.refused, { waitUntil: 'networkidle' });
seen.status = response.status();
seen.corners = await page.evaluate(() => getComputedStyle(document.querySelector('main.card') ?? document.body).borderTopLeftRadius);
await page.screenshot({ path: o.shot });
console.log(JSON.stringify(seen));
await browser.close();

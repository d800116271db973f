// An OpenID provider for the suites: panva's oidc-provider with one
// confidential client, two people and a plain sign-in form.
//
//   node op.mjs '{"port":21100,"redirect":"http://…/auth/callback","signedOut":"http://…/auth/logout"}'
//
// Optional: accessTTL (seconds, default 300), alg (RS256, ES256, EdDSA),
// backchannel (where the client wants to hear of sign-outs).
// Prints "ready" once it answers. Everything is kept in memory.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const options = { accessTTL: 300, alg: 'RS256', ...JSON.parse(process.argv[2]) };
const issuer = `http://127.0.0.1:${options.port}`;

const people = new Map([
  ['alice', { password: 'alice-secret', name: 'Alice Arzt', groups: ['doctors', 'staff'] }],
  ['bob', { password: 'bob-secret', name: 'Bob Besuch', groups: ['visitors'] }],
]);

function claimsOf(id) {
  const { name, groups } = people.get(id);
  return { sub: id, name, groups, preferred_username: id, email: `${id}@clinic.example`, email_verified: true };
}

const keyKinds = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }], EdDSA: ['ed25519', {}] };

function signingKey(alg) {
  const { privateKey } = generateKeyPairSync(...keyKinds[alg]);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: `suite-${alg}` };
}

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'anteroom',
    client_secret: 'a-client-secret-of-more-than-32-bytes',
    token_endpoint_auth_method: 'client_secret_post',
    id_token_signed_response_alg: options.alg,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [options.redirect],
    post_logout_redirect_uris: [options.signedOut],
    ...options.backchannel && { backchannel_logout_uri: options.backchannel, backchannel_logout_session_required: true },
  }],
  jwks: { keys: [...new Set(['RS256', options.alg])].map(signingKey) },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
  cookies: { keys: [randomBytes(24).toString('base64url')] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  findAccount: (_, id) => people.has(id) ? { accountId: id, claims: () => claimsOf(id) } : undefined,
  interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true, logoutSource: askSignOut },
  },
  fetch: (url, { dispatcher, ...rest }) => globalThis.fetch(url, rest), // the library's own does not go to loopback
  ttl: { AccessToken: options.accessTTL, AuthorizationCode: 60, IdToken: 300, Interaction: 600, Grant: 3600, RefreshToken: 3600, Session: 3600 },
});
provider.on('server_error', (_, error) => console.error('server error:', error));
for (const event of ['backchannel.error', 'authorization.error', 'grant.error', 'end_session.error', 'revocation.error']) {
  provider.on(event, (_, error) => console.error(`${event}:`, error.message, error.error_description ?? ''));
}

// askSignOut is the page that a relying party's logout leads to. The form's id
// is the library's own.
function askSignOut(ctx, form) {
  ctx.type = 'html';
  ctx.body = `<!doctype html><title>Sign out?</title>${form}<button type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>`;
}

const signInPage = `<!doctype html><title>Sign in</title><form method="post">
<input name="user" aria-label="User"><input name="password" type="password" aria-label="Password"><button>Sign in</button></form>`;

async function formOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

// signIn is the provider's own sign-in page; consent is given along with it.
async function signIn(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  if (request.method !== 'POST') return response.end(signInPage);
  const form = await formOf(request);
  const accountId = form.get('user');
  if (people.get(accountId)?.password !== form.get('password')) {
    response.statusCode = 401;
    return response.end(signInPage);
  }
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(request, response, { login: { accountId }, consent: { grantId: await grant.save() } });
}

const answer = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith('/sign-in/')) return answer(request, response);
  return signIn(request, response).catch((error) => {
    console.error('sign-in:', error);
    response.writeHead(500).end('sign-in failed');
  });
}).listen(options.port, '127.0.0.1', () => console.log('ready'));

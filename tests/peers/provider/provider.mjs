// An OpenID provider for tests: oidc-provider with its own login pages. The one argument is its configuration as JSON:
// port, keys (private JWKs), clients, people (name of the login -> claims), machines (client id -> claims), resource.
import { Provider } from "oidc-provider";

const given = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${given.port}`;
const plain = new Set(given.plain ?? []); // clients whose access tokens are for userinfo only
const resource = {
  scope: "",
  audience: given.resource,
  accessTokenFormat: "jwt",
  accessTokenTTL: given.seconds ?? 600,
  jwt: { sign: { alg: given.algorithm ?? "RS256" } },
};

const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: { keys: given.keys },
  cookies: { keys: ["tests only"] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: async () => ({ ...given.people[id], sub: id }) }),
  claims: { openid: ["sub"], profile: ["name", "roles", "orcid"], email: ["email"] },
  extraTokenClaims: (_ctx, token) => (token.accountId ? given.people[token.accountId] : given.machines?.[token.clientId]),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_ctx, client) => (plain.has(client.clientId) ? undefined : given.resource),
      useGrantedResource: () => true,
      getResourceServerInfo: () => resource,
    },
  },
});
provider.listen(given.port, "127.0.0.1", () => console.log("ready"));

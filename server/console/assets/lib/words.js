// The words for what the API names.

const finicity = ['started', 'institutionSupported', 'institutionNotSupported', 'institutionNotFound', 'discovered', 'adding', 'added', 'mfa', 'mfaUpdated',
  'credentialsUpdated', 'invalidCredentials', 'unableToConnect', 'processing', 'done', 'accountsDeleted', 'ping'];
const vezgo = ['SyncAccount', 'SyncError'];

/** @param {string} name */
const screaming = (name) => name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();

/** The types of events by their providers. @type {{provider: string, types: {value: string, label: string}[]}[]} */
export const types = [
  { provider: 'Finicity', types: finicity.map((label) => ({ value: `EVENT_TYPE_FINICITY_${screaming(label)}`, label })) },
  { provider: 'Vezgo', types: vezgo.map((label) => ({ value: `EVENT_TYPE_VEZGO_${screaming(label)}`, label })) },
  { provider: 'Other', types: [{ value: 'EVENT_TYPE_UNRECOGNIZED', label: 'not known to this gateway' }] },
];
const typeLabels = new Map(types.flatMap((group) => group.types).map(({ value, label }) => [value, label]));

/** A name of the API in words: `FOO_BAR` of `FOO_` is `Bar`. @param {string | undefined} name @param {string} prefix */
export function words(name, prefix) {
  if (!name || name === `${prefix}UNSPECIFIED`) return '';
  const text = (name.startsWith(prefix) ? name.slice(prefix.length) : name).toLowerCase().replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string | undefined} type */
export const typeLabel = (type) => typeLabels.get(type ?? '') ?? words(type, 'EVENT_TYPE_');

/** @param {string | undefined} provider */
export const providerLabel = (provider) => words(provider, 'PROVIDER_');

/** @param {string | undefined} reason */
export const reasonLabel = (reason) => words(reason, 'ERROR_REASON_') || 'Unknown';

export const providers = [{ value: 'PROVIDER_FINICITY', label: 'Finicity' }, { value: 'PROVIDER_VEZGO', label: 'Vezgo' }];

export const verdicts = [
  { value: 'VERIFICATION_VERDICT_VERIFIED', label: 'Verified' },
  { value: 'VERIFICATION_VERDICT_NOT_CHECKED', label: 'Not checked' },
  { value: 'VERIFICATION_VERDICT_FAILED', label: 'Failed' },
];

/** How a verdict is shown: a tone, a sign and a word. @param {string | undefined} verdict */
export function verdictLook(verdict) {
  switch (verdict) {
    case 'VERIFICATION_VERDICT_VERIFIED': return { tone: 'good', sign: '✓', label: 'Verified' };
    case 'VERIFICATION_VERDICT_FAILED': return { tone: 'bad', sign: '✕', label: 'Failed' };
    case 'VERIFICATION_VERDICT_NOT_CHECKED': return { tone: 'warn', sign: '–', label: 'Not checked' };
    default: return { tone: 'plain', sign: '?', label: words(verdict, 'VERIFICATION_VERDICT_') || 'Unknown' };
  }
}

/** What to do about an error, by its reason. @type {Record<string, string>} */
const hints = {
  NOT_GRANTED: 'Ask those who run the gateway for a grant (access in its configuration).',
  NO_ANSWER: 'Look whether it runs and whether the network leads to it.',
  CREDENTIALS_MISSING: 'Sign in with a token.',
  CREDENTIALS_INVALID: 'Look whether the token is whole, and meant for this gateway.',
  CREDENTIALS_EXPIRED: 'Get a new token, and sign in with it.',
  LOG_UNAVAILABLE: 'The event log cannot be used at present; the log of the gateway says why.',
  STARTING: 'It starts.',
  DRAINING: 'It shuts down.',
  TOO_MANY_STREAMS: 'Close another stream (see Streams), or raise streams.max_streams.',
  EVENT_NOT_FOUND: 'It was never stored, or retention has removed it. Look whether the id is whole.',
  HISTORY_LOST: 'It belongs to a part of the history that this gateway does not have, as after a backup was put back.',
  CURSOR_EXPIRED: 'Retention has removed what comes next. Start at the earliest event, or now.',
  EVENT_DAMAGED: 'It was stored and cannot be read any more: the disk is damaged. Look at Overview.',
  SUBSCRIPTION_NOT_FOUND: 'It was deleted, or never created.',
  SUBSCRIPTION_MOVING: 'Another gateway takes it over, which lasts seconds.',
  SUBSCRIPTION_UNUSABLE: 'Start the version that wrote it, or delete it.',
  TOO_MANY_WAITING: 'Nothing more can wait for another attempt. Wait until workers have settled some, and go on then.',
  HOST_NOT_ALLOWED: 'Open the console by the address of the gateway, or add the name to listen.internal_hosts.',
};

/** @param {string} reason */
export const hintOf = (reason) => hints[reason] ?? '';

/** What a refusal means to who looks for a delivery, by its reason. @type {Record<string, string>} */
export const refusalHints = {
  SIGNATURE_MISSING: 'The sender does not sign. Is a Partner Secret in use at the provider? Or it is a stranger.',
  SIGNATURE_MISMATCH: 'The sender signs with another secret, or something on the way changes the body. Compare the secrets of the client.',
  SHARED_SECRET_MISMATCH: 'The required header, or the secret in the URL, is missing or wrong.',
  SOURCE_NOT_ALLOWED: 'The address is not the provider’s. Behind a proxy, webhooks.trusted_proxies has to name it.',
  CLIENT_UNKNOWN: 'The client of the path is not configured. Look at the URL that the provider was given.',
  CLIENT_NOT_ALLOWED: 'The client of the header is not in the list of those accepted.',
  CLIENT_ID_MISSING: 'The delivery names no client. Give the provider a URL with one.',
  CLIENT_ID_MISMATCH: 'The path and the header name different clients.',
  PROVIDER_UNKNOWN: 'The path names no provider that is enabled. Look at the URL that the provider was given.',
  PATH_UNKNOWN: 'Nothing is at this path: most often somebody who tries what is open.',
  METHOD_NOT_ALLOWED: 'It was no POST, so it was no delivery: most often a browser, or somebody who tries what is open.',
  BODY_NOT_JSON_OBJECT: 'The body is no JSON object.',
  BODY_INCOMPLETE: 'The connection ended within the body. The provider tries again. Often: look at the proxy and the network.',
  BODY_TIMEOUT: 'The body took longer than webhooks.read_timeout. Often: look at the proxy and the network.',
  CONTENT_ENCODING_UNSUPPORTED: 'The body is compressed. Switch that off in the proxy: the signature covers the bytes as they were.',
  CONTENT_TYPE_UNSUPPORTED: 'The provider sends XML. Choose application/json there.',
  BODY_TOO_LARGE: 'The body is larger than webhooks.max_body_bytes.',
  OVERLOADED: 'All memory for deliveries is in use. The provider tries again.',
  RATE_LIMITED: 'More than webhooks.rate_limit allows.',
  UNVERIFIED_QUOTA: 'What failed verification has used up its quota (store.unverified_quota_bytes).',
  LOG_UNAVAILABLE: 'The event log could not store it. The provider tries again. Look at Overview.',
  DRAINING: 'The gateway was shutting down. The provider tries again.',
  INTERNAL: 'A fault of the gateway, which its log names by the id in the answer. The provider tries again. Report it.',
};

/** The classes of sensitive fields that are hidden. @param {string[] | undefined} classes */
export const maskedWords = (classes) => (classes ?? []).map((c) => words(c, 'SENSITIVITY_').toLowerCase()).join(', ');

// The public API, and who is signed in. The access token lives in memory alone; the refresh token is a cookie that no script reads.
import createClient from "openapi-fetch";
import type { components, paths } from "./contract";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];
export type Certificate = Schemas["Certificate"];
/** An issuance goes on. */
export function isRunning({ status }: Certificate): boolean {
  return status === "pending" || status === "validating";
}

export type Plan = Schemas["Plan"];
type Session = Schemas["Session"];

/** What the API has said no to, or that it could not be reached (status 0). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly fields: { pointer: string; detail: string }[] = [],
  ) {
    super(detail);
  }
}

let session: Session | undefined;
let renewAt = 0;
let refreshing: Promise<boolean> | undefined;
const watchers = new Set<() => void>();

export function currentSession(): Session | undefined {
  return session;
}

export function watchSession(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function begin(next: Session | undefined) {
  session = next;
  // A minute early, so that no request meets the end.
  renewAt = next ? Date.now() + (next.expires_in - 60) * 1000 : 0;
  for (const watcher of watchers) watcher();
}

/** Another access token by the cookie. False: the session has ended. Throws where the API is away. */
export function refresh(): Promise<boolean> {
  refreshing ??= askForSession().finally(() => (refreshing = undefined));
  return refreshing;
}

async function askForSession(): Promise<boolean> {
  const answer = await reach(new Request("/api/v1/auth/refresh", { method: "POST" }));
  if (answer.ok) begin((await answer.json()) as Session);
  else if (answer.status === 401) begin(undefined);
  else throw refusal(answer.status, await answer.json().catch(() => undefined));
  return answer.ok;
}

async function reach(request: Request): Promise<Response> {
  let answer;
  try {
    answer = await fetch(request);
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw new Refused(0, "unreachable", "Zonecert cannot be reached.");
  }
  if ([502, 503, 504].includes(answer.status)) throw new Refused(0, "unreachable", "Zonecert cannot be reached.");
  return answer;
}

/** `problem` is the body of the answer, if it was one. */
function refusal(status: number, problem: Partial<Problem> | undefined): Refused {
  const fields = problem?.errors?.map(({ pointer, detail }) => ({ pointer, detail }));
  return new Refused(status, problem?.code ?? "unknown", problem?.detail ?? `The server answered ${status}.`, fields);
}

/** `fetch` with the access token, which is renewed in time, and once more where the server no longer knows it. */
export async function authorized(request: Request): Promise<Response> {
  if (session && Date.now() > renewAt) await refresh();
  const again = request.clone();
  const answer = await reach(withToken(request));
  if (answer.status !== 401 || !session || !(await refresh())) return answer;
  return reach(withToken(again));
}

function withToken(request: Request): Request {
  if (session) request.headers.set("Authorization", `Bearer ${session.access_token}`);
  return request;
}

export const api = createClient<paths>({ baseUrl: location.origin, fetch: authorized });

/** The body of an answer, or the refusal thrown. */
export async function take<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (response.ok) return data as T;
  throw refusal(response.status, error as Partial<Problem> | undefined);
}

export async function signOut() {
  await reach(new Request("/api/v1/auth/logout", { method: "POST" }));
  begin(undefined);
}

// The event stream. `EventSource` cannot send the access token, so the stream is read by hand; it is a few lines.
import { Refused, authorized, refresh } from "./api";

/** The server says something at least every 15 s; whoever hears nothing for longer is cut off. */
const SILENCE_MS = 35_000;
const RETRY_MS = [250, 500, 1000, 2000];

export interface Listener {
  event(): void;
  connected(is: boolean): void;
}

/** Listens until the signal is given, whatever drops in between. */
export async function listen(listener: Listener, stop: AbortSignal): Promise<void> {
  let last: string | undefined;
  let failures = 0;
  while (!stop.aborted) {
    const connection = new AbortController();
    const end = () => connection.abort();
    stop.addEventListener("abort", end);
    let silence = setTimeout(end, SILENCE_MS);
    try {
      const headers: HeadersInit = last ? { "Last-Event-ID": last } : {};
      const answer = await authorized(new Request("/api/v1/events", { headers, signal: connection.signal }));
      if (answer.ok && answer.body) {
        failures = 0;
        listener.connected(true);
        // What has happened while nobody listened.
        listener.event();
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          clearTimeout(silence);
          silence = setTimeout(end, SILENCE_MS);
          const messages = (rest + value).split("\n\n");
          rest = messages.pop() ?? "";
          for (const message of messages) {
            const id = /^id: ?(.*)$/m.exec(message)?.[1];
            if (id) last = id;
            if (/^data:/m.test(message)) listener.event();
          }
        }
      } else if (answer.status === 401) {
        // An access token has ended, which ends the stream; without a session there is nobody to listen.
        if (!(await refresh())) return;
      } else {
        failures += 1;
      }
    } catch (error) {
      if (stop.aborted) return;
      failures += 1;
      if (!(error instanceof Refused) || error.status === 0) listener.connected(false);
    } finally {
      clearTimeout(silence);
      stop.removeEventListener("abort", end);
    }
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 2000, stop);
  }
}

function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    stop.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}

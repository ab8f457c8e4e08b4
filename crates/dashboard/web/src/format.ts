// What stands on the screen for times and counts. Pure: `now` is given, in milliseconds.
export const DAY_MS = 86_400_000;

/** Green above 30 days, yellow from 7 to 30, red below 7 (requirements S3.62). */
export function urgency(expiresAt: string, now: number): "good" | "warn" | "bad" {
  const days = (Date.parse(expiresAt) - now) / DAY_MS;
  return days > 30 ? "good" : days >= 7 ? "warn" : "bad";
}

export function countdown(expiresAt: string, now: number): string {
  const left = Date.parse(expiresAt) - now;
  if (left <= 0) return "expired";
  const days = Math.floor(left / DAY_MS);
  if (days >= 2) return `${days} days left`;
  const hours = Math.floor(left / 3_600_000);
  return hours >= 1 ? `${hours} ${hours === 1 ? "hour" : "hours"} left` : `${Math.ceil(left / 60_000)} min left`;
}

/** `a.test, b.test` as a list without blanks. */
export function names(text: string): string[] {
  return text.split(/[\s,]+/).filter((name) => name !== "");
}

export function words(code: string): string {
  const text = code.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// The parts that pages are made of.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Check, CircleAlert, CircleCheck, CircleX, Clock, Copy, type LucideIcon, Minus, X } from "lucide-react";
import { type FormEvent, type ReactNode, useEffect, useId, useState } from "react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { Refused } from "./api";
import { countdown, urgency } from "./format";

export { Button };

export function Alert({ error }: { error: unknown }) {
  if (!error) return null;
  const fields = error instanceof Refused ? error.fields : [];
  return (
    <div role="alert" className="alert bad">
      <p>{error instanceof Error ? error.message : "Something went wrong."}</p>
      {fields.length > 0 && (
        <ul>
          {fields.map(({ pointer, detail }) => (
            <li key={pointer + detail}>
              <code>{pointer}</code> {detail}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** Loading, failed, empty, or what there is. */
export function Loaded<T>({ query, empty, children }: {
  query: { data: T | undefined; error: unknown; refetch: () => unknown };
  empty?: (data: T) => ReactNode;
  children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined) return <>{empty?.(query.data) || children(query.data)}</>;
  if (query.error) {
    return (
      <>
        <Alert error={query.error} />
        <Button onPress={() => query.refetch()}>Try again</Button>
      </>
    );
  }
  return <p role="status" className="quiet">Loading…</p>;
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p><strong>{title}</strong></p>
      {children}
    </div>
  );
}

/** In the reader's zone; UTC on hover. */
export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <>—</>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={date.toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC")}>
      {date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}
    </time>
  );
}

export function Expiry({ at, now }: { at: string; now: number }) {
  return (
    <>
      <Time at={at} />
      <span className={`countdown ${urgency(at, now)}`}>{countdown(at, now)}</span>
    </>
  );
}

const STATUS = {
  issued: ["good", CircleCheck],
  pending: ["warn", Clock],
  validating: ["warn", Clock],
  failed: ["bad", CircleX],
  expired: ["orange", CircleAlert],
  revoked: ["grey", Minus],
} as const;

export function StatusBadge({ status }: { status: keyof typeof STATUS }) {
  const [colour, Icon] = STATUS[status];
  return (
    <span className={`badge ${colour}`} data-status={status}>
      <Icon size={14} aria-hidden className={Icon === Clock ? "turning" : undefined} />
      {status}
    </span>
  );
}

export function Badge({ colour, children }: { colour: "good" | "warn" | "bad" | "grey"; children: ReactNode }) {
  return <span className={`badge ${colour}`}>{children}</span>;
}

export function YesNo({ is, label }: { is: boolean; label: string }) {
  return is ? (
    <span className="yes"><Check size={16} aria-hidden /> {label}<span className="hidden">: yes</span></span>
  ) : (
    <span className="no"><X size={16} aria-hidden /> {label}<span className="hidden">: no</span></span>
  );
}

export function useNow(everyMs = 30_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [state, setState] = useState<"" | "Copied" | "Cannot copy here">("");
  return (
    <>
      <Button aria-label={`Copy ${what}`} onPress={() => navigator.clipboard.writeText(text).then(() => setState("Copied"), () => setState("Cannot copy here"))}>
        <Copy size={14} aria-hidden /> Copy
      </Button>
      <span role="status" className="quiet">{state}</span>
    </>
  );
}

/** A button that is an icon: its name is shown on hover, also while it is disabled. */
export function IconButton({ name, act, icon: Icon, disabled, danger }: {
  name: string;
  act: () => void;
  icon: LucideIcon;
  disabled?: boolean;
  danger?: boolean;
}) {
  return (
    <span title={name}>
      <Button className={danger ? "icon danger" : "icon"} aria-label={name} isDisabled={disabled} onPress={act}><Icon size={16} aria-hidden /></Button>
    </span>
  );
}

export function Window({ title, close, children, wide }: { title: string; close: () => void; children: ReactNode; wide?: boolean }) {
  return (
    <ModalOverlay className="overlay" isOpen isDismissable onOpenChange={(open) => !open && close()}>
      <Modal className={wide ? "modal wide" : "modal"}>
        <Dialog className="dialog">
          <header>
            <Heading slot="title" level={2}>{title}</Heading>
            <Button aria-label="Close" className="icon" onPress={close}><X size={18} aria-hidden /></Button>
          </header>
          {children}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

export function Field({ label, hint, ...input }: { label: string; hint?: ReactNode } & React.InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={hint ? `${id}-hint` : undefined} autoComplete="off" {...input} />
      {hint && <span id={`${id}-hint`} className="quiet">{hint}</span>}
    </div>
  );
}

export function Choice({ label, children, ...select }: { label: string } & React.SelectHTMLAttributes<HTMLSelectElement>) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select id={id} {...select}>{children}</select>
    </div>
  );
}

export function Tick({ label, hint, ...input }: { label: string; hint?: ReactNode } & React.InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  return (
    <div className="tick">
      <input type="checkbox" id={id} aria-describedby={hint ? `${id}-hint` : undefined} {...input} />
      <label htmlFor={id}>{label}</label>
      {hint && <span id={`${id}-hint`} className="quiet">{hint}</span>}
    </div>
  );
}

/** A form that is sent once, says what was refused, and stays usable. */
export function Ask({ action, cancel, danger, send, children }: {
  action: string;
  cancel?: () => void;
  danger?: boolean;
  send: (form: FormData) => Promise<unknown>;
  children?: ReactNode;
}) {
  const queries = useQueryClient();
  const sending = useMutation({ mutationFn: send, onSettled: () => queries.invalidateQueries() });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (!sending.isPending) sending.mutate(new FormData(event.currentTarget));
  };
  return (
    <form onSubmit={submit}>
      {children}
      <Alert error={sending.error} />
      <footer>
        {cancel && <Button onPress={cancel}>Cancel</Button>}
        <Button type="submit" className={danger ? "danger" : "primary"} data-pending={sending.isPending || undefined}>{action}</Button>
      </footer>
    </form>
  );
}

/** Asks before something is deleted. */
export function DeleteWindow({ title, close, act, children }: { title: string; close: () => void; act: () => Promise<unknown>; children: ReactNode }) {
  const send = async () => {
    await act();
    close();
  };
  return (
    <Window title={title} close={close}>
      <Ask action="Delete" danger cancel={close} send={send}>{children}</Ask>
    </Window>
  );
}

/** A secret that is never shown again. */
export function SecretWindow({ title, close, what, secret, children }: { title: string; close: () => void; what: string; secret: string; children: ReactNode }) {
  return (
    <Window title={title} close={close}>
      <p className="alert warn">{children}</p>
      <p><code>{secret}</code></p>
      <div className="actions"><CopyButton text={secret} what={what} /></div>
    </Window>
  );
}

/** A button that does one thing at once; a refusal stands beside it. */
export function Do({ children, act, label }: { children: ReactNode; act: () => Promise<unknown>; label?: string }) {
  const queries = useQueryClient();
  const doing = useMutation({ mutationFn: act, onSettled: () => queries.invalidateQueries() });
  return (
    <>
      <Button aria-label={label} data-pending={doing.isPending || undefined} onPress={() => doing.isPending || doing.mutate()}>{children}</Button>
      <Alert error={doing.error} />
    </>
  );
}

/** A table that scrolls by itself on a narrow screen, also by keyboard. */
export function Table({ label, head, children }: { label: string; head: string[]; children: ReactNode }) {
  return (
    <div className="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{head.map((name) => <th key={name} scope="col">{name}</th>)}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Page({ title, action, children }: { title: string; action?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Zonecert`;
  }, [title]);
  return (
    <>
      <header className="title">
        <h1>{title}</h1>
        {action}
      </header>
      {children}
    </>
  );
}


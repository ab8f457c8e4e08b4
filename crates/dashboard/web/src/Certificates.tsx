// "SSL Certificates": limits, the list, and what can be done with each (requirements S3.60 to S3.67).
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { CalendarOff, CalendarSync, Check, Download, RefreshCw, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { type Certificate, type Schemas, api, isRunning, take } from "./api";
import { DownloadWindow } from "./DownloadWindow";
import { RequestWindow } from "./RequestWindow";
import { Alert, Ask, Button, Choice, Empty, Expiry, Field, IconButton, Loaded, Page, StatusBadge, Table, Tick, Time, Window, YesNo, useNow } from "./ui";

const STATUSES = ["pending", "validating", "issued", "failed", "expired", "revoked"] as const;
const HEAD = ["Domain", "SANs", "Status", "Issued", "Expires", "Auto-Renew", "Actions"];

export function Certificates() {
  const [search, setSearch] = useSearchParams();
  const [asking, setAsking] = useState(false);
  const status = STATUSES.find((one) => one === search.get("status"));
  const q = search.get("q") ?? "";
  const list = useInfiniteQuery({
    queryKey: ["certificates", status, q],
    queryFn: ({ pageParam }) => take(api.GET("/api/v1/certificates", { params: { query: { limit: 100, status: status && [status], q: q || undefined, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: (last) => last,
  });
  const limits = list.data?.pages[0]?.limits;
  const full = !limits || limits.current_count >= limits.max_certificates;
  const narrow = (name: string, value: string) =>
    setSearch((old) => {
      const next = new URLSearchParams(old);
      if (value) next.set(name, value);
      else next.delete(name);
      return next;
    }, { replace: true });

  return (
    <Page title="SSL Certificates" action={<Button className="primary" isDisabled={full} onPress={() => setAsking(true)}>Request Certificate</Button>}>
      {limits && <LimitsCard limits={limits} />}
      <search className="filters">
        <Field label="Search" type="search" placeholder="Domain or name" value={q} onChange={(event) => narrow("q", event.target.value)} />
        <Choice label="Status" value={status ?? ""} onChange={(event) => narrow("status", event.target.value)}>
          <option value="">All</option>
          {STATUSES.map((one) => <option key={one}>{one}</option>)}
        </Choice>
      </search>
      <Loaded query={list} empty={({ pages }) => pages[0]?.certificates.length === 0 && (
        q || status
          ? <Empty title="No certificate fits."><Button onPress={() => setSearch({}, { replace: true })}>Show all</Button></Empty>
          : <Empty title="No certificates yet."><p>Import and verify a zone under <Link href="/zones">Zones</Link>, then request the first.</p></Empty>
      )}>
        {({ pages }) => (
          <>
            <Table label="Certificates" head={HEAD}>
              {pages.flatMap((page) => page.certificates).map((one) => <Row key={one.id} certificate={one} limits={pages[0]!.limits} />)}
            </Table>
            {list.hasNextPage && <Button data-pending={list.isFetchingNextPage || undefined} onPress={() => list.fetchNextPage()}>Show more</Button>}
          </>
        )}
      </Loaded>
      {asking && limits && <RequestWindow limits={limits} close={() => setAsking(false)} />}
    </Page>
  );
}

function LimitsCard({ limits }: { limits: Schemas["Limits"] }) {
  const { current_count: count, max_certificates: most } = limits;
  return (
    <section className="card limits" aria-label="Limits">
      <span><strong>{count} / {most}</strong> <span className="quiet">certificates of the {limits.plan} plan</span></span>
      <span>
        <YesNo is={limits.wildcard_enabled} label="Wildcard Available" />
        {!limits.wildcard_enabled && <span className="quiet"> on the Elite plan</span>}
      </span>
      <span>
        <YesNo is={limits.auto_renew_enabled} label="Auto-Renewal Available" />
        {!limits.auto_renew_enabled && <span className="quiet"> on the Pro and Elite plans</span>}
      </span>
      {most === 0 && <p>Certificate management requires a paid subscription: Plus, Pro or Elite. <Link href="/account">See the plans</Link></p>}
      {most > 0 && count >= most && <p>The limit of the plan is reached. Delete a certificate, or <Link href="/account">take a higher plan</Link>.</p>}
    </section>
  );
}

export function subject(certificate: { domain: string }) {
  return <code className="domain">{certificate.domain}</code>;
}

function Row({ certificate, limits }: { certificate: Certificate; limits: Schemas["Limits"] }) {
  const now = useNow();
  const shown = certificate.issued_at !== null;
  return (
    <tr>
      <th scope="row">
        <Link href={`/certificates/${certificate.id}`}>{subject(certificate)}</Link>
        {certificate.name !== certificate.domain && <span className="quiet block">{certificate.name}</span>}
      </th>
      <td>{certificate.sans.length || "—"}</td>
      <td>
        <StatusBadge status={certificate.status} />
        {certificate.last_error && certificate.status === "issued" && <span className="countdown bad">Renewal failed</span>}
      </td>
      <td>{shown ? <Time at={certificate.issued_at} /> : "—"}</td>
      <td>{shown && certificate.expires_at ? <Expiry at={certificate.expires_at} now={now} /> : "—"}</td>
      <td>{certificate.auto_renew ? <span className="yes"><Check size={16} aria-hidden /><span className="hidden">Enabled</span></span> : <span className="quiet">—</span>}</td>
      <td><Actions certificate={certificate} limits={limits} /></td>
    </tr>
  );
}

export function Actions({ certificate, limits, deleted }: { certificate: Certificate; limits: Schemas["Limits"]; deleted?: () => void }) {
  const [open, setOpen] = useState<"download" | "renew" | "delete">();
  const queries = useQueryClient();
  const me = useQuery({ queryKey: ["me"], queryFn: () => take(api.GET("/api/v1/me")) });
  const may = (scope: Schemas["Scope"]) => me.data?.scopes.includes(scope) ?? false;
  const close = () => setOpen(undefined);
  const { id, domain } = certificate;
  const running = isRunning(certificate);
  const managed = certificate.kind === "managed";
  return (
    <div className="actions">
      <IconButton name={`Download ${domain}`} icon={Download} disabled={!certificate.downloadable || !may("keys:read")} act={() => setOpen("download")} />
      {managed && (
        <>
          <IconButton name={`Renew ${domain}`} icon={RefreshCw} disabled={running || limits.max_certificates === 0 || !may("certificates:write")} act={() => setOpen("renew")} />
          <AutoRenew certificate={certificate} allowed={limits.auto_renew_enabled && may("certificates:write")} />
        </>
      )}
      <IconButton name={`Delete ${domain}`} icon={Trash2} danger disabled={!may("certificates:write")} act={() => setOpen("delete")} />
      {open === "download" && <DownloadWindow certificate={certificate} close={close} />}
      {open === "renew" && (
        <Window title="Renew Certificate" close={close}>
          <Ask action="Renew" cancel={close} send={async () => {
            await take(api.POST("/api/v1/certificates/{id}/renew", { params: { path: { id } } }));
            close();
          }}>
            <p>Renew <code className="domain">{domain}</code> now? The present files stay downloadable until the new ones are there.</p>
          </Ask>
        </Window>
      )}
      {open === "delete" && (
        <Window title="Delete Certificate" close={close}>
          <Ask action="Delete" danger cancel={close} send={async (form) => {
            await take(api.DELETE("/api/v1/certificates/{id}", { params: { path: { id }, query: { revoke: form.get("revoke") === "on" } } }));
            close();
            deleted?.();
            await queries.invalidateQueries({ queryKey: ["certificates"] });
          }}>
            <p>Delete <code className="domain">{domain}</code>? Its private key is destroyed, which cannot be undone.</p>
            {managed && certificate.downloadable && (
              <Tick name="revoke" label="Revoke with Let's Encrypt" hint="Recommended where the key may be known to others." />
            )}
          </Ask>
        </Window>
      )}
    </div>
  );
}

function AutoRenew({ certificate, allowed }: { certificate: Certificate; allowed: boolean }) {
  const queries = useQueryClient();
  const { id, domain, auto_renew: on } = certificate;
  const toggle = useMutation({
    mutationFn: () => take(api.PATCH("/api/v1/certificates/{id}", { params: { path: { id } }, body: { auto_renew: !on } })),
    onSettled: () => queries.invalidateQueries(),
  });
  const name = `${on ? "Disable" : "Enable"} auto-renewal of ${domain}`;
  return (
    <>
      <IconButton name={allowed ? name : `${name}: requires Pro or Elite plan`} icon={on ? CalendarOff : CalendarSync} disabled={!allowed} act={() => toggle.isPending || toggle.mutate()} />
      <Alert error={toggle.error} />
    </>
  );
}

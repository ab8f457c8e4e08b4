// One certificate: how far an issuance has come, what happened, what there is, and where it is deployed.
import { useQuery } from "@tanstack/react-query";
import { Circle, CircleCheck } from "lucide-react";
import { useLocation } from "wouter";
import { type Certificate as Shown, type Schemas, api, isRunning, take } from "./api";
import { Actions, subject } from "./Certificates";
import { words } from "./format";
import { Badge, Empty, Expiry, Loaded, Page, StatusBadge, Table, Time, useNow } from "./ui";

/** As they follow each other; `already_authorized` stands for `authorized`. */
const STEPS = ["order_begun", "order_placed", "challenges_presented", "ca_notified", "authorized", "finalized", "issued"] as const;

export default function Certificate({ id }: { id: string }) {
  const path = { id };
  const [, go] = useLocation();
  const one = useQuery({ queryKey: ["certificate", id], queryFn: () => take(api.GET("/api/v1/certificates/{id}", { params: { path } })) });
  const limits = useQuery({ queryKey: ["limits"], queryFn: () => take(api.GET("/api/v1/limits")) });
  const orders = useQuery({ queryKey: ["orders", id], queryFn: () => take(api.GET("/api/v1/certificates/{id}/orders", { params: { path } })) });
  const versions = useQuery({ queryKey: ["versions", id], queryFn: () => take(api.GET("/api/v1/certificates/{id}/versions", { params: { path } })) });
  const logs = useQuery({ queryKey: ["logs", id], queryFn: () => allLogs(id) });
  const deployments = useQuery({ queryKey: ["deployments", id], queryFn: () => take(api.GET("/api/v1/certificates/{id}/deployments", { params: { path } })) });
  const name = one.data?.domain ?? "Certificate";
  return (
    <Page title={name} action={one.data && limits.data && <Actions certificate={one.data} limits={limits.data} deleted={() => go("/")} />}>
      <Loaded query={one}>{(certificate) => <Facts certificate={certificate} order={orders.data?.orders[0]} />}</Loaded>
      <section>
        <h2>Versions</h2>
        <Loaded query={versions} empty={(page) => page.versions.length === 0 && <Empty title="None issued yet." />}>
          {(page) => (
            <Table label="Versions" head={["Number", "Names", "Issuer", "Serial", "From", "Until", "State"]}>
              {page.versions.map((version) => (
                <tr key={version.id}>
                  <th scope="row">{version.number}</th>
                  <td>{version.names.map((one) => <code key={one} className="block">{one}</code>)}</td>
                  <td>{version.issuer}</td>
                  <td><code>{version.serial}</code></td>
                  <td><Time at={version.not_before} /></td>
                  <td><Time at={version.not_after} /></td>
                  <td>{version.revoked_at ? <Badge colour="grey">revoked</Badge> : version.is_current ? <Badge colour="good">current</Badge> : "—"}</td>
                </tr>
              ))}
            </Table>
          )}
        </Loaded>
      </section>
      <section>
        <h2>Orders</h2>
        <Loaded query={orders} empty={(page) => page.orders.length === 0 && <Empty title="Nothing ordered yet." />}>
          {(page) => (
            <Table label="Orders" head={["Placed", "Reason", "State", "Finished", "Problem"]}>
              {page.orders.map((order) => (
                <tr key={order.id}>
                  <th scope="row"><Time at={order.created_at} /></th>
                  <td>{words(order.reason)}</td>
                  <td><Badge colour={order.status === "issued" ? "good" : ["failed", "abandoned"].includes(order.status) ? "bad" : "warn"}>{order.status}</Badge></td>
                  <td><Time at={order.finished_at} /></td>
                  <td>{order.problem ? <>{order.problem.detail} <strong>{order.problem.remedy}</strong></> : "—"}</td>
                </tr>
              ))}
            </Table>
          )}
        </Loaded>
      </section>
      <section>
        <h2>Deployed</h2>
        <Loaded query={deployments} empty={(list) => list.deployments.length === 0 && <Empty title="No server has reported this certificate yet." />}>
          {(list) => (
            <Table label="Deployments" head={["Target", "State", "Reported", "Error"]}>
              {list.deployments.map((deployment) => (
                <tr key={deployment.target}>
                  <th scope="row">{deployment.target}</th>
                  <td><Badge colour={deployment.state === "serving" ? "good" : deployment.state === "stale" ? "warn" : "grey"}>{deployment.state}</Badge></td>
                  <td><Time at={deployment.reported_at} /></td>
                  <td>{deployment.error ?? "—"}</td>
                </tr>
              ))}
            </Table>
          )}
        </Loaded>
      </section>
      <section>
        <h2>Log</h2>
        <Loaded query={logs} empty={(list) => list.length === 0 && <Empty title="Nothing has happened yet." />}>
          {(list) => (
            <Table label="Log" head={["Time", "Level", "What happened"]}>
              {list.map((entry, place) => (
                <tr key={place}>
                  <th scope="row"><Time at={entry.at} /></th>
                  <td><Badge colour={entry.level === "error" ? "bad" : entry.level === "warning" ? "warn" : "grey"}>{entry.level}</Badge></td>
                  <td>{entry.message} <Remedy details={entry.details} /></td>
                </tr>
              ))}
            </Table>
          )}
        </Loaded>
      </section>
    </Page>
  );
}

/** Oldest first, so the newest are on the last page. */
async function allLogs(id: string): Promise<Schemas["LogEntry"][]> {
  const entries: Schemas["LogEntry"][] = [];
  let cursor: string | undefined;
  do {
    const page = await take(api.GET("/api/v1/certificates/{id}/logs", { params: { path: { id }, query: { limit: 100, cursor } } }));
    entries.push(...page.logs);
    cursor = page.next_cursor ?? undefined;
  } while (cursor);
  return entries;
}

function Remedy({ details }: { details: object }) {
  const remedy = "remedy" in details ? details.remedy : undefined;
  return typeof remedy === "string" ? <strong>{remedy}</strong> : null;
}

function Facts({ certificate, order }: { certificate: Shown; order: Schemas["Order"] | undefined }) {
  const now = useNow();
  const running = isRunning(certificate);
  const error = certificate.last_error;
  const blocked = certificate.renewal_blocked_by;
  return (
    <div className="card">
      {error && (
        <div className="alert bad">
          <p>{error.detail} <strong>{error.remedy}</strong></p>
          {error.next_attempt_at && <p>It is tried again at <Time at={error.next_attempt_at} />.</p>}
        </div>
      )}
      {blocked && <p className="alert warn">{blocked.detail} <strong>{blocked.remedy}</strong></p>}
      <dl>
        <dt>Status</dt><dd><span role="status"><StatusBadge status={certificate.status} /></span></dd>
        <dt>Domain</dt><dd>{subject(certificate)}</dd>
        <dt>SANs</dt><dd>{certificate.sans.length ? certificate.sans.map((san) => <code key={san} className="block">{san}</code>) : "—"}</dd>
        <dt>Name</dt><dd>{certificate.name}</dd>
        <dt>Key</dt><dd>{certificate.key_algorithm}</dd>
        <dt>Issued</dt><dd><Time at={certificate.issued_at} /></dd>
        <dt>Expires</dt><dd>{certificate.expires_at ? <Expiry at={certificate.expires_at} now={now} /> : "—"}</dd>
        <dt>Next renewal</dt><dd><Time at={certificate.next_renewal_at} /></dd>
      </dl>
      {running && <Progress order={order} />}
    </div>
  );
}

function Progress({ order }: { order: Schemas["Order"] | undefined }) {
  const done = new Set<string>(order?.finished_at ? [] : order?.steps.map(({ step }) => (step === "already_authorized" ? "authorized" : step)));
  return (
    <section>
      <h2>Progress</h2>
      <ol className="steps">
        {STEPS.map((step) => (
          <li key={step} className={done.has(step) ? "yes" : "quiet"}>
            {done.has(step) ? <CircleCheck size={16} aria-hidden /> : <Circle size={16} aria-hidden />}
            {words(step)}<span className="hidden">{done.has(step) ? ": done" : ": to come"}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

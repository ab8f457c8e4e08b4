// The account: plan and limits, what a change of plan would touch, users, audit log.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Plan, type Schemas, api, take } from "./api";
import { Ask, Badge, Button, Choice, Do, Empty, Field, Loaded, Page, Table, Time, Window, YesNo } from "./ui";

export default function Account() {
  const [open, setOpen] = useState<Plan | "invite">();
  const close = () => setOpen(undefined);
  const account = useQuery({ queryKey: ["account"], queryFn: () => take(api.GET("/api/v1/account")) });
  const plans = useQuery({ queryKey: ["plans"], queryFn: () => take(api.GET("/api/v1/plans")) });
  const limits = useQuery({ queryKey: ["limits"], queryFn: () => take(api.GET("/api/v1/limits")) });
  return (
    <Page title="Account">
      <Loaded query={account}>
        {({ name, id, plan }) => (
          <div className="card">
            <dl>
              <dt>Name</dt><dd>{name}</dd>
              <dt>Number</dt><dd><code>{id}</code></dd>
              <dt>Plan</dt><dd>{plan}</dd>
              <dt>Certificates</dt><dd>{limits.data ? `${limits.data.current_count} / ${limits.data.max_certificates}` : "—"} {limits.data?.over_limit && <Badge colour="warn">over the limit</Badge>}</dd>
            </dl>
          </div>
        )}
      </Loaded>
      <section>
        <h2>Plans</h2>
        <Loaded query={plans}>
          {(list) => (
            <Table label="Plans" head={["Plan", "Certificates", "Uploads", "Can do", "What would change"]}>
              {list.plans.map((plan) => (
                <tr key={plan.name}>
                  <th scope="row">{plan.name} {plan.name === account.data?.plan && <Badge colour="good">yours</Badge>}</th>
                  <td>{plan.max_certificates}</td>
                  <td>{plan.max_uploads}</td>
                  <td>
                    <YesNo is={plan.wildcard} label="Wildcards" /> <YesNo is={plan.auto_renew} label="Auto-renewal" /> <YesNo is={plan.manual_renew} label="Manual renewal" /> <YesNo is={plan.api_tokens} label="API tokens" />
                  </td>
                  <td>{plan.name !== account.data?.plan && <Button aria-label={`Preview of ${plan.name}`} onPress={() => setOpen(plan.name)}>Preview</Button>}</td>
                </tr>
              ))}
            </Table>
          )}
        </Loaded>
      </section>
      <Users invite={() => setOpen("invite")} />
      <Audit />
      {open === "invite" ? (
        <Window title="Invite a user" close={close}>
          <Ask action="Invite" cancel={close} send={async (form) => {
            await take(api.POST("/api/v1/invitations", { body: { email: String(form.get("email")), role: form.get("role") as Schemas["Role"] } }));
            close();
          }}>
            <Field label="Email" name="email" type="email" required />
            <Choice label="Role" name="role" defaultValue="member">
              <option value="owner">Owner: everything</option>
              <option value="member">Member: all but the account</option>
              <option value="viewer">Viewer: sees, and no keys</option>
            </Choice>
          </Ask>
        </Window>
      ) : open && <Preview plan={open} close={close} />}
    </Page>
  );
}

function Preview({ plan, close }: { plan: Plan; close: () => void }) {
  const change = useQuery({ queryKey: ["preview", plan], queryFn: () => take(api.GET("/api/v1/plans/{plan}/preview", { params: { path: { plan } } })) });
  return (
    <Window title={`What ${plan} would change`} close={close}>
      <Loaded query={change}>
        {(it) => (
          <>
            <p>Nothing is deleted or revoked, and what is valid stays downloadable. To change the plan, write to whoever runs Zonecert for you.</p>
            <ul>
              <li>{it.limits.current_count} / {it.limits.max_certificates} certificates{it.over_limit_by > 0 && `: ${it.over_limit_by} too many, so no new ones`}</li>
              {it.certificates_rest && <li>No certificate is requested or renewed any more.</li>}
              {it.api_tokens_only_read && <li>API tokens only read.</li>}
            </ul>
            <Touched title="Auto-renewal stops" list={it.auto_renewal_stops} />
            <Touched title="Auto-renewal goes on again" list={it.auto_renewal_resumes} />
            <Touched title="Wildcards that are not renewed" list={it.wildcards_rest} />
          </>
        )}
      </Loaded>
    </Window>
  );
}

function Touched({ title, list }: { title: string; list: Schemas["TouchedCertificate"][] }) {
  if (list.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul>{list.map((one) => <li key={one.id}><code>{one.domain}</code></li>)}</ul>
    </>
  );
}

function Users({ invite }: { invite: () => void }) {
  const users = useQuery({ queryKey: ["users"], queryFn: () => take(api.GET("/api/v1/users")) });
  const invitations = useQuery({ queryKey: ["invitations"], queryFn: () => take(api.GET("/api/v1/invitations")) });
  const open = invitations.data?.invitations.filter(({ status }) => status === "open") ?? [];
  return (
    <section>
      <h2>Users</h2>
      <Loaded query={users}>
        {(list) => (
          <Table label="Users" head={["Email", "Role", "Last log-in", "Actions"]}>
            {list.users.map((user) => (
              <tr key={user.id}>
                <th scope="row">{user.email}</th>
                <td>{user.role}</td>
                <td><Time at={user.last_login_at} /></td>
                <td>—</td>
              </tr>
            ))}
            {open.map((invitation) => (
              <tr key={invitation.id}>
                <th scope="row">{invitation.email}</th>
                <td>{invitation.role} <Badge colour="warn">invited</Badge></td>
                <td>—</td>
                <td><Do label={`Withdraw the invitation of ${invitation.email}`} act={() => take(api.DELETE("/api/v1/invitations/{id}", { params: { path: { id: invitation.id } } }))}>Withdraw</Do></td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
      <Button onPress={invite}>Invite a user</Button>
    </section>
  );
}

function Audit() {
  const audit = useInfiniteQuery({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) => take(api.GET("/api/v1/audit", { params: { query: { limit: 25, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  return (
    <section>
      <h2>Audit log</h2>
      <Loaded query={audit} empty={({ pages }) => pages[0]?.entries.length === 0 && <Empty title="Nothing has been done yet." />}>
        {({ pages }) => (
          <>
            <Table label="Audit log" head={["Time", "Who", "What", "Subject"]}>
              {pages.flatMap((page) => page.entries).map((entry) => (
                <tr key={entry.id}>
                  <th scope="row"><Time at={entry.at} /></th>
                  <td>{entry.actor.name}</td>
                  <td><code>{entry.action}</code></td>
                  <td><code>{entry.subject ?? "—"}</code></td>
                </tr>
              ))}
            </Table>
            {audit.hasNextPage && <Button onPress={() => audit.fetchNextPage()}>Show more</Button>}
          </>
        )}
      </Loaded>
    </section>
  );
}

// API tokens: what they may do; each is shown once.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Schemas, api, take } from "./api";
import { Ask, Button, DeleteWindow, Empty, Field, Loaded, Page, SecretWindow, Table, Tick, Time, Window } from "./ui";

const SCOPES: Record<Schemas["Scope"], string> = {
  "certificates:read": "See certificates and their files",
  "certificates:write": "Request, renew, revoke and delete certificates",
  "keys:read": "Read private keys",
  "deployments:write": "Report where certificates are deployed",
  "zones:read": "See zones",
  "zones:write": "Import, change and delete zones",
  "account:admin": "Users, tokens, plan and audit log",
};

export default function Tokens() {
  const [open, setOpen] = useState<"new" | { made: string } | { revoke: Schemas["Token"] }>();
  const close = () => setOpen(undefined);
  const tokens = useQuery({ queryKey: ["tokens"], queryFn: () => take(api.GET("/api/v1/tokens")) });
  const limits = useQuery({ queryKey: ["limits"], queryFn: () => take(api.GET("/api/v1/limits")) });
  const free = limits.data?.plan === "free";
  return (
    <Page title="API tokens" action={<Button className="primary" isDisabled={free} onPress={() => setOpen("new")}>Create Token</Button>}>
      {free && <p className="alert warn">API tokens require a paid plan: Plus, Pro or Elite.</p>}
      <Loaded query={tokens} empty={(list) => list.tokens.length === 0 && <Empty title="No tokens yet."><p>Programs call the <a href="/docs">API</a> with a token.</p></Empty>}>
        {(list) => (
          <Table label="API tokens" head={["Name", "Begins with", "Scopes", "Last used", "Expires", "Actions"]}>
            {list.tokens.map((token) => (
              <tr key={token.id}>
                <th scope="row">{token.name}</th>
                <td><code>{token.prefix}</code></td>
                <td>{token.scopes.map((scope) => <code key={scope} className="block">{scope}</code>)}</td>
                <td><Time at={token.last_used_at} /></td>
                <td><Time at={token.expires_at} /></td>
                <td><Button className="danger" aria-label={`Delete ${token.name}`} onPress={() => setOpen({ revoke: token })}>Delete</Button></td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
      {open === "new" && (
        <Window title="Create Token" close={close}>
          <Ask action="Create Token" cancel={close} send={async (form) => {
            const days = Number(form.get("days"));
            const body = {
              name: String(form.get("name")).trim(),
              scopes: form.getAll("scope") as Schemas["Scope"][],
              expires_at: days > 0 ? new Date(Date.now() + days * 86_400_000).toISOString() : null,
            };
            setOpen({ made: (await take(api.POST("/api/v1/tokens", { body }))).token });
          }}>
            <Field label="Name" name="name" required />
            <Field label="Days until it expires" name="days" type="number" min={1} max={3650} hint="Empty: never." />
            <fieldset>
              <legend>Scopes</legend>
              {Object.entries(SCOPES).map(([scope, meaning]) => <Tick key={scope} name="scope" value={scope} label={scope} hint={meaning} />)}
            </fieldset>
          </Ask>
        </Window>
      )}
      {typeof open === "object" && "made" in open && (
        <SecretWindow title="Token created" close={close} what="token" secret={open.made}>It is shown only now. Store it securely.</SecretWindow>
      )}
      {typeof open === "object" && "revoke" in open && (
        <DeleteWindow title="Delete Token" close={close} act={() => take(api.DELETE("/api/v1/tokens/{id}", { params: { path: { id: open.revoke.id } } }))}>
          <p>Delete the token {open.revoke.name}? Whatever uses it is refused from now on.</p>
        </DeleteWindow>
      )}
    </Page>
  );
}

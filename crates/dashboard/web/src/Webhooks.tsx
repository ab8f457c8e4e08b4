// Webhooks, their secrets (shown once) and their deliveries.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Schemas, api, take } from "./api";
import { words } from "./format";
import { Ask, Badge, Button, DeleteWindow, Do, Empty, Field, Loaded, Page, SecretWindow, Table, Time, Window } from "./ui";

type Webhook = Schemas["Webhook"];

export default function Webhooks() {
  const [open, setOpen] = useState<"new" | { secret: string } | { remove: Webhook } | { deliveries: Webhook }>();
  const close = () => setOpen(undefined);
  const hooks = useQuery({ queryKey: ["webhooks"], queryFn: () => take(api.GET("/api/v1/webhooks")) });
  return (
    <Page title="Webhooks" action={<Button className="primary" onPress={() => setOpen("new")}>Add Webhook</Button>}>
      <Loaded query={hooks} empty={(list) => list.webhooks.length === 0 && <Empty title="No webhooks yet."><p>A webhook tells your systems when a certificate is issued, renewed or about to expire.</p></Empty>}>
        {(list) => (
          <Table label="Webhooks" head={["Address", "Events", "State", "Actions"]}>
            {list.webhooks.map((hook) => {
              const path = { id: hook.id };
              return (
                <tr key={hook.id}>
                  <th scope="row"><code>{hook.url}</code>{hook.description && <span className="quiet block">{hook.description}</span>}</th>
                  <td>{hook.events.length === 0 ? "All" : hook.events.map((event) => <code key={event} className="block">{event}</code>)}</td>
                  <td>
                    {hook.enabled ? <Badge colour={hook.failing_since ? "warn" : "good"}>{hook.failing_since ? "failing" : "on"}</Badge> : <Badge colour="grey">off</Badge>}
                    {hook.disabled_reason && <span className="quiet block">{words(hook.disabled_reason)}</span>}
                  </td>
                  <td>
                    <div className="actions">
                      <Button aria-label={`Deliveries to ${hook.url}`} onPress={() => setOpen({ deliveries: hook })}>Deliveries</Button>
                      <Do label={`Test ${hook.url}`} act={() => take(api.POST("/api/v1/webhooks/{id}/test", { params: { path } }))}>Test</Do>
                      <Do label={`${hook.enabled ? "Switch off" : "Switch on"} ${hook.url}`} act={() => take(api.PATCH("/api/v1/webhooks/{id}", { params: { path }, body: { enabled: !hook.enabled } }))}>{hook.enabled ? "Off" : "On"}</Do>
                      <Do label={`New secret for ${hook.url}`} act={async () => setOpen({ secret: (await take(api.POST("/api/v1/webhooks/{id}/rotate-secret", { params: { path } }))).secret })}>New secret</Do>
                      <Button className="danger" aria-label={`Delete ${hook.url}`} onPress={() => setOpen({ remove: hook })}>Delete</Button>
                    </div>
                  </td>
                </tr>
              );
            })}
          </Table>
        )}
      </Loaded>
      {open === "new" && (
        <Window title="Add Webhook" close={close}>
          <Ask action="Add Webhook" cancel={close} send={async (form) => {
            const body = { url: String(form.get("url")).trim(), description: String(form.get("description")).trim() || null };
            setOpen({ secret: (await take(api.POST("/api/v1/webhooks", { body }))).secret });
          }}>
            <Field label="Address" name="url" type="url" required placeholder="https://" hint="It gets all events of certificates." />
            <Field label="Description" name="description" hint="Optional." />
          </Ask>
        </Window>
      )}
      {typeof open === "object" && "secret" in open && (
        <SecretWindow title="Secret of the webhook" close={close} what="secret" secret={open.secret}>It signs what is sent, and is shown only now. Store it securely.</SecretWindow>
      )}
      {typeof open === "object" && "remove" in open && (
        <DeleteWindow title="Delete Webhook" close={close} act={() => take(api.DELETE("/api/v1/webhooks/{id}", { params: { path: { id: open.remove.id } } }))}>
          <p>Delete the webhook to <code>{open.remove.url}</code>?</p>
        </DeleteWindow>
      )}
      {typeof open === "object" && "deliveries" in open && <Deliveries hook={open.deliveries} close={close} />}
    </Page>
  );
}

function Deliveries({ hook, close }: { hook: Webhook; close: () => void }) {
  const list = useQuery({
    queryKey: ["deliveries", hook.id],
    queryFn: () => take(api.GET("/api/v1/webhooks/{id}/deliveries", { params: { path: { id: hook.id }, query: { limit: 50 } } })),
    // What becomes of a delivery is no event of the stream.
    refetchInterval: 2_000,
  });
  return (
    <Window title="Deliveries" close={close} wide>
      <p><code>{hook.url}</code></p>
      <Loaded query={list} empty={(page) => page.deliveries.length === 0 && <Empty title="Nothing has been sent yet." />}>
        {(page) => (
          <Table label="Deliveries" head={["Time", "Event", "State", "Attempts", "Last error", "Actions"]}>
            {page.deliveries.map((delivery) => (
              <tr key={delivery.id}>
                <th scope="row"><Time at={delivery.created_at} /></th>
                <td><code>{delivery.event}</code></td>
                <td>{delivery.status}</td>
                <td>{delivery.attempts.length}</td>
                <td>{delivery.last_error ?? "—"}</td>
                <td>
                  {delivery.finished_at
                    ? <Do act={() => take(api.POST("/api/v1/webhooks/{id}/deliveries/{delivery_id}/replay", { params: { path: { id: hook.id, delivery_id: delivery.id } } }))}>Send again</Do>
                    : "—"}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
    </Window>
  );
}

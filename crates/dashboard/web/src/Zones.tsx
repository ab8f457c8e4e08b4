// Zones: import, prove control, see the state, delete.
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Schemas, api, take } from "./api";
import { Ask, Badge, Button, Choice, CopyButton, DeleteWindow, Do, Empty, Field, Loaded, Page, Table, Time, Window } from "./ui";

type Zone = Schemas["Zone"];
const COLOUR = { pending: "warn", verified: "good", lost: "bad" } as const;

export default function Zones() {
  const [open, setOpen] = useState<"import" | { verify: string } | { delete: Zone }>();
  const close = () => setOpen(undefined);
  const zones = useInfiniteQuery({
    queryKey: ["zones"],
    queryFn: ({ pageParam }) => take(api.GET("/api/v1/zones", { params: { query: { limit: 100, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const all = zones.data?.pages.flatMap((page) => page.zones) ?? [];
  const verifying = typeof open === "object" && "verify" in open ? all.find(({ id }) => id === open.verify) : undefined;
  return (
    <Page title="Zones" action={<Button className="primary" onPress={() => setOpen("import")}>Import Zone</Button>}>
      <Loaded query={zones} empty={({ pages }) => pages[0]?.zones.length === 0 && <Empty title="No zones yet."><p>Import a zone that you own; certificates are for names in it.</p></Empty>}>
        {() => (
          <>
            <Table label="Zones" head={["Zone", "Mode", "Status", "Verified", "Last checked", "Actions"]}>
              {all.map((zone) => (
                <tr key={zone.id}>
                  <th scope="row"><code className="domain">{zone.name}</code></th>
                  <td>{zone.mode}</td>
                  <td><Badge colour={COLOUR[zone.status]}>{zone.status}</Badge></td>
                  <td><Time at={zone.verified_at} /></td>
                  <td><Time at={zone.last_checked_at} /></td>
                  <td>
                    <div className="actions">
                      <Button aria-label={`${zone.status === "verified" ? "Set-up of" : "Verify"} ${zone.name}`} onPress={() => setOpen({ verify: zone.id })}>
                        {zone.status === "verified" ? "Set-up" : "Verify"}
                      </Button>
                      <Button className="danger" aria-label={`Delete ${zone.name}`} onPress={() => setOpen({ delete: zone })}>Delete</Button>
                    </div>
                  </td>
                </tr>
              ))}
            </Table>
            {zones.hasNextPage && <Button onPress={() => zones.fetchNextPage()}>Show more</Button>}
          </>
        )}
      </Loaded>
      {open === "import" && (
        <Window title="Import Zone" close={close}>
          <Ask action="Import Zone" cancel={close} send={async (form) => {
            const zone = await take(api.POST("/api/v1/zones", { body: { name: String(form.get("name")).trim(), mode: form.get("mode") === "delegated" ? "delegated" : "hosted" } }));
            await zones.refetch();
            setOpen({ verify: zone.id });
          }}>
            <Field label="Zone" name="name" required placeholder="example.com" spellCheck={false} autoCapitalize="none" />
            <Choice label="Mode" name="mode">
              <option value="hosted">Hosted: our name servers serve it</option>
              <option value="delegated">Delegated: it stays where it is</option>
            </Choice>
          </Ask>
        </Window>
      )}
      {verifying && <Verify zone={verifying} close={close} />}
      {typeof open === "object" && "delete" in open && (
        <DeleteWindow title="Delete Zone" close={close} act={() => take(api.DELETE("/api/v1/zones/{id}", { params: { path: { id: open.delete.id } } }))}>
          <p>Delete <code className="domain">{open.delete.name}</code>? Its certificates stay downloadable, and are renewed no more.</p>
        </DeleteWindow>
      )}
    </Page>
  );
}

function Verify({ zone, close }: { zone: Zone; close: () => void }) {
  const { record, type, value } = zone.verification;
  return (
    <Window title={zone.status === "verified" ? "Set-up of the zone" : "Verify Zone"} close={close} wide>
      <p role="status"><Badge colour={COLOUR[zone.status]}>{zone.status}</Badge> <code className="domain">{zone.name}</code></p>
      <p>To show that the zone is yours, set this record in its present DNS and leave it there:</p>
      <dl>
        <dt>Type</dt><dd>{type}</dd>
        <dt>Name</dt><dd><code>{record}</code> <CopyButton text={record} what="name of the record" /></dd>
        <dt>Value</dt><dd><code>{value}</code> <CopyButton text={value} what="value of the record" /></dd>
      </dl>
      {zone.name_servers && zone.name_servers.length > 0 && <p>Then point the registrar at our name servers: {zone.name_servers.map((server) => <code key={server} className="block">{server}</code>)}</p>}
      {zone.delegation && (
        <>
          <p>{zone.delegation.instructions}</p>
          <dl>
            <dt>CNAME</dt><dd><code>{zone.delegation.name}</code> <CopyButton text={zone.delegation.name} what="name of the CNAME" /></dd>
            <dt>Target</dt><dd><code>{zone.delegation.target}</code> <CopyButton text={zone.delegation.target} what="target of the CNAME" /></dd>
          </dl>
        </>
      )}
      {zone.status !== "verified" && (
        <div className="actions">
          <Do act={() => take(api.POST("/api/v1/zones/{id}/verify", { params: { path: { id: zone.id } } }))}>Verify now</Do>
        </div>
      )}
    </Window>
  );
}

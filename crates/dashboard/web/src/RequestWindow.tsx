// Request a certificate. DNS is looked at first, so that nothing of the CA's limits is spent on what would fail.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { type Schemas, api, take } from "./api";
import { names } from "./format";
import { Ask, Choice, Field, Loaded, Tick, Window } from "./ui";

export function RequestWindow({ limits, close }: { limits: Schemas["Limits"]; close: () => void }) {
  const [checked, setChecked] = useState<{ wish: string; result: Schemas["Preflight"] }>();
  const zones = useQuery({
    queryKey: ["zones", "verified"],
    queryFn: () => take(api.GET("/api/v1/zones", { params: { query: { status: "verified", limit: 100 } } })),
  });
  const send = async (form: FormData) => {
    const body: Schemas["NewCertificate"] = {
      zone_id: String(form.get("zone")),
      domain: String(form.get("domain")).trim(),
      sans: names(String(form.get("sans"))),
      wildcard: form.get("wildcard") === "on",
      auto_renew: form.get("auto_renew") === "on",
    };
    const wish = JSON.stringify(body);
    if (checked?.wish !== wish) {
      const result = await take(api.POST("/api/v1/certificates/preflight", { body }));
      setChecked({ wish, result });
      if (!result.ready || result.findings.length > 0) return;
    }
    await take(api.POST("/api/v1/certificates", { body }));
    close();
  };
  const doubtful = checked && (!checked.result.ready || checked.result.findings.length > 0);
  return (
    <Window title="Request Certificate" close={close}>
      <Loaded query={zones} empty={(page) => page.zones.length === 0 && <p>There is no verified zone yet. Import one under <Link href="/zones">Zones</Link>.</p>}>
        {({ zones: verified }) => (
          <Ask action={doubtful ? "Request anyway" : "Request Certificate"} cancel={close} send={send}>
            <Choice label="Zone" name="zone" required>
              {verified.map((zone) => <option key={zone.id} value={zone.id}>{zone.name}</option>)}
            </Choice>
            <Field label="Domain" name="domain" required placeholder={`app.${verified[0]?.name}`} spellCheck={false} autoCapitalize="none" />
            <Field label="Additional SANs" name="sans" hint="Separated by commas; all under the zone. Optional." spellCheck={false} autoCapitalize="none" />
            <Tick label="Wildcard" name="wildcard" disabled={!limits.wildcard_enabled} hint={limits.wildcard_enabled ? "For all names right below the domain." : "Requires the Elite plan."} />
            <Tick label="Auto-Renew" name="auto_renew" disabled={!limits.auto_renew_enabled} defaultChecked={limits.auto_renew_enabled} hint={limits.auto_renew_enabled ? "Renewed in time, by itself." : "Requires the Pro or Elite plan."} />
            <div role="status">{doubtful && <Findings result={checked.result} />}</div>
          </Ask>
        )}
      </Loaded>
    </Window>
  );
}

function Findings({ result }: { result: Schemas["Preflight"] }) {
  return (
    <section aria-label="Findings" className={`alert ${result.ready ? "warn" : "bad"}`}>
      <p>{result.ready ? "It should work, but look at this first:" : "As things are, this would fail. Nothing has been spent yet."}</p>
      <ul>
        {result.findings.map((finding) => (
          <li key={finding.code + finding.name}>
            <code>{finding.name}</code> {finding.detail} <strong>{finding.remedy}</strong>
          </li>
        ))}
      </ul>
      {result.rate_limited_until && <p>A limit of the CA is used up until {new Date(result.rate_limited_until).toLocaleString()}.</p>}
    </section>
  );
}

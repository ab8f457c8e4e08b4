// The files of a certificate. They are fetched when this opens, live in its state alone, and are gone when it closes.
import { useEffect, useId, useState } from "react";
import { type Certificate, type Schemas, api, take } from "./api";
import { Alert, Button, CopyButton, Window } from "./ui";

export function DownloadWindow({ certificate, close }: { certificate: Certificate; close: () => void }) {
  const [files, setFiles] = useState<Schemas["Files"]>();
  const [error, setError] = useState<unknown>();
  const { id, domain } = certificate;
  useEffect(() => {
    const stop = new AbortController();
    take(api.GET("/api/v1/certificates/{id}/download", { params: { path: { id } }, signal: stop.signal })).then(
      setFiles,
      (reason: unknown) => !stop.signal.aborted && setError(reason),
    );
    return () => stop.abort();
  }, [id]);
  const file = domain.replace("*", "wildcard");
  return (
    <Window title="Download Certificate" close={close} wide>
      <p><code className="domain">{domain}</code></p>
      <Alert error={error} />
      {!files && !error && <p role="status" className="quiet">Loading…</p>}
      {files && (
        <>
          {/* Leaf and intermediates, which is what servers want. */}
          <Block label="Certificate" action="Download Certificate" name={`${file}.crt`} text={files.certificate + files.chain} />
          <p className="alert warn">
            Whoever has the private key can pose as this domain. Store it securely; never commit it to version control or share it.
          </p>
          <Block label="Private key" action="Download Private Key" name={`${file}.key`} text={files.private_key} />
        </>
      )}
    </Window>
  );
}

function Block({ label, action, name, text }: { label: string; action: string; name: string; text: string }) {
  const id = useId();
  const save = () => {
    const url = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    URL.revokeObjectURL(url);
  };
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <textarea id={id} readOnly rows={7} value={text} spellCheck={false} />
      <div className="actions">
        <CopyButton text={text} what={label.toLowerCase()} />
        <Button onPress={save}>{action}</Button>
      </div>
    </div>
  );
}

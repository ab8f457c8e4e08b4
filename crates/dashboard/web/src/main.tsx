import { QueryClient, QueryClientProvider, useQuery, useQueryClient } from "@tanstack/react-query";
import { StrictMode, lazy, Suspense, useEffect, useState, useSyncExternalStore } from "react";
import { createRoot } from "react-dom/client";
import { Link, Redirect, Route, Switch, useLocation, useSearchParams } from "wouter";
import { Refused, api, currentSession, refresh, signOut, take, watchSession } from "./api";
import { Certificates } from "./Certificates";
import { listen } from "./live";
import { SignIn, VerifyEmail } from "./SignIn";
import { Alert, Do, Empty, Page } from "./ui";
import "./style.css";

const Certificate = lazy(() => import("./Certificate"));
const Zones = lazy(() => import("./Zones"));
const Tokens = lazy(() => import("./Tokens"));
const Webhooks = lazy(() => import("./Webhooks"));
const Account = lazy(() => import("./Account"));

// What is refused stays refused, unless it was too much at once; what could not be reached is asked again when the event stream is back.
const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: (times, error) => error instanceof Refused && error.status === 429 && times < 3, retryDelay: 2_000, staleTime: 5_000 },
  },
});

const PAGES = [["/", "SSL Certificates"], ["/zones", "Zones"], ["/tokens", "API tokens"], ["/webhooks", "Webhooks"], ["/account", "Account"]] as const;

function Shell() {
  const session = useSyncExternalStore(watchSession, currentSession);
  const [begun, setBegun] = useState(false);
  const [away, setAway] = useState(false);
  const [had, setHad] = useState(false);
  useEffect(() => {
    if (begun) return;
    let timer: ReturnType<typeof setTimeout>;
    const start = () =>
      refresh().then(
        () => (setAway(false), setBegun(true)),
        () => (setAway(true), (timer = setTimeout(start, 1000))),
      );
    void start();
    return () => clearTimeout(timer);
  }, [begun]);
  useEffect(() => {
    if (session) setHad(true);
    else queries.clear();
  }, [session]);

  if (!begun) return <main className="narrow">{away ? <Away /> : <p role="status" className="quiet">Loading…</p>}</main>;
  if (!session) return <SignIn expired={had} />;
  return <SignedIn leave={() => signOut().then(() => setHad(false))} />;
}

function Away() {
  return <p role="alert" className="alert bad banner">Zonecert cannot be reached. Trying again…</p>;
}

function SignedIn({ leave }: { leave: () => Promise<void> }) {
  const client = useQueryClient();
  const [connected, setConnected] = useState(true);
  const [path] = useLocation();
  const me = useQuery({ queryKey: ["me"], queryFn: () => take(api.GET("/api/v1/me")) });
  useEffect(() => {
    const stop = new AbortController();
    let waiting: ReturnType<typeof setTimeout> | undefined;
    // Several events of one moment are one look.
    const event = () => {
      waiting ??= setTimeout(() => ((waiting = undefined), void client.invalidateQueries()), 300);
    };
    void listen({ event, connected: setConnected }, stop.signal);
    return () => (stop.abort(), clearTimeout(waiting));
  }, [client]);

  const status = me.data?.account.status;
  return (
    <>
      <a className="skip" href="#content">Skip to the content</a>
      <header className="top">
        <span className="brand">Zonecert</span>
        <nav aria-label="Pages">
          {PAGES.map(([to, name]) => {
            const here = to === "/" ? path === "/" || path.startsWith("/certificates") : path.startsWith(to);
            return <Link key={to} href={to} aria-current={here ? "page" : undefined}>{name}</Link>;
          })}
        </nav>
        <span className="who">
          <span className="quiet">{me.data?.user?.email}</span>
          <Do act={leave}>Log out</Do>
        </span>
      </header>
      {!connected && <Away />}
      {status && status !== "active" && (
        <p role="status" className="alert warn banner">
          {status === "suspended_payment" ? "This account is suspended until it is paid for: certificates can be downloaded, revoked and deleted." : "This account is suspended."}
        </p>
      )}
      <main id="content" tabIndex={-1}>
        <Alert error={me.error instanceof Refused && me.error.status !== 0 ? me.error : undefined} />
        <Suspense fallback={<p role="status" className="quiet">Loading…</p>}>
          <Switch>
            <Route path="/"><Certificates /></Route>
            <Route path="/certificates/:id">{({ id }) => <Certificate id={id} />}</Route>
            <Route path="/zones"><Zones /></Route>
            <Route path="/tokens"><Tokens /></Route>
            <Route path="/webhooks"><Webhooks /></Route>
            <Route path="/account"><Account /></Route>
            <Route path="/verify-email"><VerifyEmail /></Route>
            {["/login", "/register", "/certificates", "/forgot-password"].map((entry) => <Route key={entry} path={entry}><Onward /></Route>)}
            <Route><Page title="Nothing is here"><Empty title="There is no such page."><Link href="/">SSL Certificates</Link></Empty></Page></Route>
          </Switch>
        </Suspense>
      </main>
    </>
  );
}

/** To where whoever signed in wanted to go; never to another site. */
function Onward() {
  const [search] = useSearchParams();
  const next = search.get("next") ?? "/";
  return <Redirect to={/^\/(?![/\\])/.test(next) ? next : "/"} replace />;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Shell />
    </QueryClientProvider>
  </StrictMode>,
);

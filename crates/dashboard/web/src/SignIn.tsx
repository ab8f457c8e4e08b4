// Whoever is not signed in: log in, sign up, and what the links in mails lead to.
import { useState } from "react";
import { Link, Redirect, Route, Switch, useSearchParams } from "wouter";
import { api, begin, take } from "./api";
import { Ask, Field, Page } from "./ui";

const text = (form: FormData, name: string) => String(form.get(name) ?? "");

export function SignIn({ expired }: { expired: boolean }) {
  return (
    <main className="narrow">
      <p className="brand">Zonecert</p>
      <Switch>
        <Route path="/register"><Register /></Route>
        <Route path="/forgot-password"><Forgot /></Route>
        <Route path="/reset-password"><Reset /></Route>
        <Route path="/accept-invitation"><Accept /></Route>
        <Route path="/verify-email"><VerifyEmail /></Route>
        <Route path="/login"><LogIn expired={expired} /></Route>
        <Route><Redirect to={`/login?next=${encodeURIComponent(location.pathname + location.search)}`} replace /></Route>
      </Switch>
    </main>
  );
}

function LogIn({ expired }: { expired: boolean }) {
  return (
    <Page title="Log in">
      {expired && <p role="status" className="alert warn">Your session has ended. Log in again to go on where you were.</p>}
      <Ask action="Log in" send={async (form) => begin(await take(api.POST("/api/v1/auth/login", { body: { email: text(form, "email"), password: text(form, "password"), cookie: true } })))}>
        <Field label="Email" name="email" type="email" autoComplete="username" required />
        <Field label="Password" name="password" type="password" autoComplete="current-password" required />
      </Ask>
      <p><Link href="/register">Sign up</Link> · <Link href="/forgot-password">Forgot the password?</Link></p>
    </Page>
  );
}

function Register() {
  return (
    <Page title="Sign up">
      <Ask action="Sign up" send={async (form) => begin(await take(api.POST("/api/v1/auth/register", { body: { email: text(form, "email"), password: text(form, "password"), account_name: text(form, "account"), cookie: true } })))}>
        <Field label="Email" name="email" type="email" autoComplete="username" required />
        <Field label="Password" name="password" type="password" autoComplete="new-password" minLength={12} required hint="At least 12 characters." />
        <Field label="Account name" name="account" autoComplete="organization" required hint="Your company or team; it can be changed later." />
      </Ask>
      <p>Already a customer? <Link href="/login">Log in</Link></p>
    </Page>
  );
}

function Forgot() {
  const [sent, setSent] = useState(false);
  return (
    <Page title="Forgot the password">
      {sent ? <p role="status" className="alert good">If there is such a user, a mail with a link is on its way.</p> : (
        <Ask action="Send the link" send={async (form) => {
          await take(api.POST("/api/v1/auth/forgot-password", { body: { email: text(form, "email") } }));
          setSent(true);
        }}>
          <Field label="Email" name="email" type="email" autoComplete="username" required />
        </Ask>
      )}
      <p><Link href="/login">Log in</Link></p>
    </Page>
  );
}

function Reset() {
  const [search] = useSearchParams();
  const [done, setDone] = useState(false);
  return (
    <Page title="Set a new password">
      {done ? <p role="status" className="alert good">The new password holds. <Link href="/login">Log in</Link></p> : (
        <Ask action="Set the password" send={async (form) => {
          await take(api.POST("/api/v1/auth/reset-password", { body: { token: search.get("token") ?? "", new_password: text(form, "password") } }));
          setDone(true);
        }}>
          <Field label="New password" name="password" type="password" autoComplete="new-password" minLength={12} required hint="At least 12 characters." />
        </Ask>
      )}
    </Page>
  );
}

function Accept() {
  const [search] = useSearchParams();
  return (
    <Page title="Accept the invitation">
      <Ask action="Join" send={async (form) => begin(await take(api.POST("/api/v1/auth/accept-invitation", { body: { token: search.get("token") ?? "", password: text(form, "password"), cookie: true } })))}>
        <Field label="Password" name="password" type="password" autoComplete="new-password" minLength={12} required hint="At least 12 characters." />
      </Ask>
    </Page>
  );
}

export function VerifyEmail() {
  const [search] = useSearchParams();
  const [done, setDone] = useState(false);
  return (
    <Page title="Confirm your address">
      {done ? <p role="status" className="alert good">Your address is confirmed.</p> : (
        <Ask action="Confirm" send={async () => {
          await take(api.POST("/api/v1/auth/verify-email", { body: { token: search.get("token") ?? "" } }));
          setDone(true);
        }} />
      )}
      <p><Link href="/">Go on</Link></p>
    </Page>
  );
}

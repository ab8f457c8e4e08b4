// The dashboard in Debian's Chromium, against the real product, DNS and CA. Started by `cargo xtask dashboard --browse`.
import axe from "axe-core";
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import tls from "node:tls";
import { chromium } from "playwright-core";

const { ZONECERT_URL, OPERATOR_TOKEN, CUSTOMER_DNS_URL, CUSTOMER_DNS_KEY, NAME_SERVERS, SCREENSHOTS } = process.env;
const PASSWORD = "correct horse battery staple";
const NASTY = '<img src=x onerror="window.injected=1">';
/** For what the CA has a part in, on a machine that is busy with other things. */
const ISSUED_WITHIN_MS = 90_000;
rmSync(SCREENSHOTS, { recursive: true, force: true });
mkdirSync(SCREENSHOTS, { recursive: true });

// A line between browser and API that can be cut.
const target = new URL(ZONECERT_URL);
const sockets = new Set();
const line = createServer((here) => {
  const there = connect(Number(target.port), target.hostname);
  for (const [one, other] of [[here, there], [there, here]]) {
    sockets.add(one);
    one.pipe(other);
    one.on("error", () => other.destroy());
    one.on("close", () => (sockets.delete(one), other.destroy()));
  }
});
const listening = (port) => new Promise((done) => line.listen(port, "127.0.0.1", done));
await listening(0);
const port = line.address().port;
const site = `http://127.0.0.1:${port}`;
const cut = () =>
  new Promise((done) => {
    line.close(done);
    for (const socket of sockets) socket.destroy();
  });

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const complaints = [];
const label = randomBytes(4).toString("hex");
let step = "start";

async function open(options = {}) {
  const context = await browser.newContext({ baseURL: site, acceptDownloads: true, locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: site });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith(`${site}/`) && !request.url().startsWith("blob:")) complaints.push(`${step}: a request to ${request.url()}`);
  });
  page.on("console", (message) => {
    if (/Content.Security.Policy|violates/i.test(message.text())) complaints.push(`${step}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${step}: ${error.message}`));
  return page;
}

/** axe finds nothing, and there is a picture of it. Past the policy, which is checked for by what the console says. */
async function look(page, name) {
  await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map((one) => one.finished)));
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
  const found = await page.evaluate(`(() => { const module = undefined; ${axe.source}; return axe.run(document, { resultTypes: ["violations"] }); })()`);
  for (const violation of found.violations) {
    complaints.push(`axe, ${name}: ${violation.id}: ${violation.help}: ${violation.nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary?.slice(0, 200)}`).join(" | ")}`);
  }
  assert.equal(await page.evaluate(() => window.injected), undefined, `${name}: a name has become markup`);
}

async function call(method, url, headers, body) {
  const answer = await fetch(url, { method, headers: { "Content-Type": "application/json", ...headers }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

const operate = (method, path, body) => call(method, `${ZONECERT_URL}/api/v1/admin${path}`, { Authorization: `Bearer ${OPERATOR_TOKEN}` }, body);
const dns = (method, path, body) => call(method, `${CUSTOMER_DNS_URL}/api/v1/servers/localhost/zones${path}`, { "X-API-Key": CUSTOMER_DNS_KEY }, body);

async function setPlan(email, plan) {
  const { accounts } = await operate("GET", `/accounts?email=${encodeURIComponent(email)}`);
  await operate("PATCH", `/accounts/${accounts[0].id}`, { plan });
}

async function signUp(page, email) {
  await page.goto("/register");
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByLabel("Account name").fill(NASTY);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByRole("heading", { name: "SSL Certificates" }).waitFor();
}

/** What the owner of the zone does at the provider of today. */
async function setRecords(zone, record, value) {
  await dns("POST", "", { name: `${zone}.`, kind: "Native", nameservers: ["ns1.customer.test."] });
  const set = (name, type, contents) => ({ name: `${name}.`, type, ttl: 60, changetype: "REPLACE", records: contents.map((content) => ({ content, disabled: false })) });
  await dns("PATCH", `/${zone}.`, { rrsets: [set(record, "TXT", [`"${value}"`]), set(zone, "NS", NAME_SERVERS.split(",").map((server) => `${server}.`))] });
}

async function shown(page, domain, status) {
  await page.locator("tr", { hasText: domain }).locator(`[data-status="${status}"]`).waitFor({ timeout: ISSUED_WITHIN_MS });
}

/** Moves the focus by Tab alone until it is there, and presses the key. */
async function press(page, target, key = "Enter") {
  await target.waitFor();
  for (let presses = 0; presses < 200; presses++) {
    if (await target.evaluate((element) => element === document.activeElement)) return page.keyboard.press(key);
    await page.keyboard.press("Tab");
  }
  throw new Error(`${target} is not reached by Tab`);
}

async function type(page, target, text) {
  await press(page, target, "End");
  await page.keyboard.type(text);
}

async function main() {
  const email = `mouse-${label}@customer.zonecert.io`;
  const zone = `shop-${label}.test`;

  step = "sign in";
  const page = await open();
  const first = await page.goto("/");
  const policy = first.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await look(page, "log-in");
  await page.getByRole("link", { name: "Sign up" }).click();
  await page.getByRole("heading", { name: "Sign up" }).waitFor();
  await look(page, "sign-up");
  await signUp(page, email);

  step = "plans";
  const request = page.getByRole("button", { name: "Request Certificate" });
  for (const [plan, most, wildcard, renewal] of [["free", 0, "no", "no"], ["plus", 5, "no", "no"], ["pro", 25, "no", "yes"], ["elite", 100, "yes", "yes"]]) {
    if (plan !== "free") await setPlan(email, plan);
    await page.reload();
    const card = page.getByRole("region", { name: "Limits" });
    await card.getByText(`0 / ${most}`).waitFor();
    await card.getByText(`Wildcard Available: ${wildcard}`).waitFor();
    await card.getByText(`Auto-Renewal Available: ${renewal}`).waitFor();
    assert.equal(await request.isDisabled(), most === 0, plan);
    await look(page, `certificates-${plan}`);
  }

  step = "zones";
  await page.getByRole("link", { name: "Zones", exact: true }).first().click();
  await page.getByText("No zones yet.").waitFor();
  await look(page, "zones-empty");
  await page.getByRole("button", { name: "Import Zone" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Zone").fill(NASTY);
  await dialog.getByRole("button", { name: "Import Zone" }).click();
  await dialog.getByRole("alert").waitFor();
  await look(page, "zones-import");
  await dialog.getByLabel("Zone").fill(zone);
  await dialog.getByRole("button", { name: "Import Zone" }).click();
  await dialog.getByText("Verify Zone").waitFor();
  await look(page, "zones-verify");
  await dialog.getByRole("button", { name: "Copy value of the record" }).click();
  await dialog.getByText("Copied").waitFor();
  const value = await page.evaluate(() => navigator.clipboard.readText());
  const record = await dialog.locator("dd code").first().textContent();
  await setRecords(zone, record, value);
  await dialog.getByRole("button", { name: "Verify now" }).click();
  await dialog.getByText("verified", { exact: true }).waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  await look(page, "zones");

  step = "request";
  const domain = `app.${zone}`;
  await page.getByRole("link", { name: "SSL Certificates" }).click();
  const other = await open();
  await other.goto("/login");
  await other.getByLabel("Email").fill(email);
  await other.getByLabel("Password").fill(PASSWORD);
  await other.getByRole("button", { name: "Log in" }).click();
  await other.getByText("No certificates yet.").waitFor();
  // Each state that a page shows which is never loaded again.
  await other.evaluate(() => {
    window.states = [];
    new MutationObserver(() => {
      const state = document.querySelector("[data-status]")?.dataset.status;
      if (state && state !== window.states.at(-1)) window.states.push(state);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await request.click();
  await dialog.getByLabel("Domain").fill("app.elsewhere.test");
  await look(page, "request");
  await dialog.getByRole("button", { name: "Request Certificate" }).click();
  await dialog.getByText("Domain not under zone").waitFor();
  await look(page, "request-refused");
  await dialog.getByLabel("Domain").fill(domain);
  await dialog.getByLabel("Additional SANs").fill(`www.${zone}, api.${zone}`);
  await dialog.getByRole("button", { name: "Request Certificate" }).click();
  // The first look may have something to say of it, which is shown before anything is spent.
  const anyway = dialog.getByRole("button", { name: "Request anyway" });
  await Promise.race([anyway.waitFor().then(() => anyway.click()), dialog.waitFor({ state: "detached" })]);
  await dialog.waitFor({ state: "detached" });
  await page.locator("tr", { hasText: domain }).waitFor();
  const asked = Date.now();
  await other.locator("tr", { hasText: domain }).waitFor({ timeout: 2_000 });
  console.log(`the other browser shows it after ${Date.now() - asked} ms`);
  await page.getByRole("link", { name: domain }).click();
  await page.getByRole("heading", { name: domain }).waitFor();
  await page.getByText("Order placed: done").waitFor();
  await page.locator('[data-status="issued"]').waitFor({ timeout: ISSUED_WITHIN_MS });
  await page.getByRole("region", { name: "Versions" }).getByText("current").waitFor();
  await look(page, "certificate");
  await shown(other, domain, "issued");
  const states = await other.evaluate(() => window.states);
  assert.ok(states.length > 1 && ["pending", "validating"].includes(states[0]) && states.at(-1) === "issued", `states shown: ${states}`);
  await page.getByRole("link", { name: "SSL Certificates" }).click();
  await shown(page, domain, "issued");
  await look(page, "certificates");

  step = "download";
  const files = [];
  page.on("request", (sent) => sent.url().includes("/download") && files.push(sent.url()));
  await page.getByRole("button", { name: `Download ${domain}` }).click();
  await dialog.getByRole("textbox", { name: "Private key" }).waitFor();
  assert.equal(files.length, 1);
  await look(page, "download");
  const save = async (name, ending) => {
    const [download] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name }).click()]);
    assert.equal(download.suggestedFilename(), `${domain}.${ending}`);
    return readFileSync(await download.path());
  };
  const [cert, key] = [await save("Download Certificate", "crt"), await save("Download Private Key", "key")];
  await serves(cert, key, domain);
  await dialog.getByRole("button", { name: "Close" }).click();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.equal(kept, '[{},{},""]');

  step = "renew";
  const before = await expiryOf(page, domain);
  await page.getByRole("button", { name: `Renew ${domain}` }).click();
  await look(page, "renew");
  await dialog.getByRole("button", { name: "Renew" }).click();
  await page.waitForFunction(([name, old]) => {
    const row = [...document.querySelectorAll("tr")].find((one) => one.textContent.includes(name));
    return row?.querySelector('[data-status="issued"]') && row.querySelector("time").getAttribute("datetime") !== old;
  }, [domain, before], { timeout: ISSUED_WITHIN_MS });

  step = "toggle";
  await page.getByRole("button", { name: `Disable auto-renewal of ${domain}` }).click();
  await other.getByRole("button", { name: `Enable auto-renewal of ${domain}` }).waitFor();
  await page.getByRole("button", { name: `Enable auto-renewal of ${domain}` }).click();
  await page.getByRole("button", { name: `Disable auto-renewal of ${domain}` }).waitFor();

  step = "filters";
  await page.getByLabel("Search").fill("nothing-like-this");
  await page.getByText("No certificate fits.").waitFor();
  assert.match(page.url(), /q=nothing-like-this/);
  await look(page, "certificates-none-fits");
  await page.getByRole("button", { name: "Show all" }).click();
  await page.getByLabel("Status").selectOption("issued");
  await page.locator("tr", { hasText: domain }).waitFor();
  assert.match(page.url(), /status=issued/);

  step = "away";
  await cut();
  await page.getByText("Trying again…").waitFor();
  await look(page, "away");
  await listening(port);
  await page.getByText("Trying again…").waitFor({ state: "detached" });
  await page.locator("tr", { hasText: domain }).waitFor();

  step = "other pages";
  await page.getByRole("link", { name: "API tokens" }).click();
  await page.getByText("No tokens yet.").waitFor();
  await page.getByRole("button", { name: "Create Token" }).click();
  await dialog.getByLabel("Name").fill(NASTY);
  await dialog.getByLabel("zones:read").check();
  await look(page, "tokens-new");
  await dialog.getByRole("button", { name: "Create Token" }).click();
  await dialog.getByText("It is shown only now").waitFor();
  await look(page, "tokens-created");
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.getByRole("rowheader", { name: NASTY }).waitFor();
  await look(page, "tokens");
  await page.getByRole("link", { name: "Webhooks" }).click();
  await page.getByRole("button", { name: "Add Webhook" }).click();
  await dialog.getByLabel("Address").fill("https://hooks.zonecert.io/in");
  await dialog.getByLabel("Description").fill(NASTY);
  await look(page, "webhooks-new");
  await dialog.getByRole("button", { name: "Add Webhook" }).click();
  await dialog.getByText("shown only now").waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.getByText(NASTY).waitFor();
  await look(page, "webhooks");
  await page.getByRole("button", { name: "Deliveries to" }).click();
  await dialog.getByText("Nothing has been sent yet.").waitFor();
  await look(page, "webhooks-deliveries");
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.getByRole("link", { name: "Account" }).click();
  await page.getByText(NASTY).first().waitFor();
  await page.getByRole("region", { name: "Audit log" }).waitFor();
  await look(page, "account");
  await page.getByRole("button", { name: "Preview of plus" }).click();
  await dialog.getByText("Auto-renewal stops").waitFor();
  await look(page, "account-preview");
  await dialog.getByRole("button", { name: "Close" }).click();

  step = "looks";
  for (const [name, options] of [["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 360, height: 740 } }]]) {
    const also = await open({ ...options, storageState: await page.context().storageState() });
    for (const [path, title] of [["/", "SSL Certificates"], ["/zones", "Zones"], ["/account", "Account"]]) {
      await also.goto(path);
      await also.getByRole("heading", { name: title, exact: true }).waitFor();
      await also.locator("tbody tr").first().waitFor();
      await look(also, `${name}-${title.split(" ").at(-1).toLowerCase()}`);
      const [wide, seen] = await also.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= seen, `${name} ${path} is ${wide} wide where ${seen} are seen`);
    }
    await also.context().close();
  }

  step = "delete";
  await page.getByRole("link", { name: "SSL Certificates" }).click();
  await page.getByRole("button", { name: `Delete ${domain}` }).click();
  await dialog.getByLabel("Revoke with Let's Encrypt").check();
  await look(page, "delete");
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByText("No certificates yet.").waitFor({ timeout: ISSUED_WITHIN_MS });
  await other.getByText("No certificates yet.").waitFor({ timeout: ISSUED_WITHIN_MS });

  step = "keyboard";
  const second = `keys-${label}.test`;
  const name = `app.${second}`;
  await page.reload();
  await press(page, page.getByRole("link", { name: "Zones", exact: true }).first());
  await press(page, page.getByRole("button", { name: "Import Zone" }));
  await type(page, dialog.getByLabel("Zone"), second);
  await page.keyboard.press("Enter");
  await press(page, dialog.getByRole("button", { name: "Copy value of the record" }));
  await dialog.getByText("Copied").waitFor();
  await setRecords(second, `_zonecert.${second}`, await page.evaluate(() => navigator.clipboard.readText()));
  await press(page, dialog.getByRole("button", { name: "Verify now" }));
  await dialog.getByText("verified", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await press(page, page.getByRole("link", { name: "SSL Certificates" }));
  await press(page, request);
  // A letter chooses in a list that has the focus.
  await press(page, dialog.getByLabel("Zone"), "k");
  await type(page, dialog.getByLabel("Domain"), name);
  await page.keyboard.press("Enter");
  await Promise.race([anyway.waitFor().then(() => press(page, anyway)), dialog.waitFor({ state: "detached" })]);
  await shown(page, name, "issued");
  await press(page, page.getByRole("button", { name: `Download ${name}` }));
  await dialog.getByRole("textbox", { name: "Private key" }).waitFor();
  await press(page, dialog.getByRole("button", { name: "Copy private key" }));
  await dialog.getByText("Copied").waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await press(page, page.getByRole("button", { name: `Disable auto-renewal of ${name}` }));
  await page.getByRole("button", { name: `Enable auto-renewal of ${name}` }).waitFor();
  const old = await expiryOf(page, name);
  await press(page, page.getByRole("button", { name: `Renew ${name}` }));
  await press(page, dialog.getByRole("button", { name: "Renew" }));
  await page.waitForFunction(([one, then]) => {
    const row = [...document.querySelectorAll("tr")].find((each) => each.textContent.includes(one));
    return row?.querySelector('[data-status="issued"]') && row.querySelector("time").getAttribute("datetime") !== then;
  }, [name, old], { timeout: ISSUED_WITHIN_MS });
  await press(page, page.getByRole("button", { name: `Delete ${name}` }));
  await press(page, dialog.getByLabel("Revoke with Let's Encrypt"), "Space");
  await press(page, dialog.getByRole("button", { name: "Delete" }));
  await page.getByText("No certificates yet.").waitFor({ timeout: ISSUED_WITHIN_MS });

  step = "session";
  await page.reload();
  await page.getByRole("heading", { name: "SSL Certificates" }).waitFor();
  // An access token that the server no longer knows is replaced, and the page has what it asked for.
  await page.route("**/api/v1/audit?*", (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: "{}" }), { times: 1 });
  const [refreshed] = await Promise.all([page.waitForResponse("**/api/v1/auth/refresh"), page.getByRole("link", { name: "Account" }).click()]);
  assert.equal(refreshed.status(), 200);
  await page.getByRole("region", { name: "Audit log" }).waitFor();
  await other.reload();
  await other.getByText("No certificates yet.").waitFor();
  const { access_token } = await call("POST", `${ZONECERT_URL}/api/v1/auth/login`, {}, { email, password: PASSWORD });
  await call("POST", `${ZONECERT_URL}/api/v1/auth/logout-everywhere`, { Authorization: `Bearer ${access_token}` });
  await other.getByText("Your session has ended").waitFor();
  await look(other, "session-ended");
}

async function expiryOf(page, name) {
  return page.locator("tr", { hasText: name }).locator("time").first().getAttribute("datetime");
}

/** A TLS server starts with the two files, and a client sees the name in what it serves. */
async function serves(cert, key, domain) {
  const server = tls.createServer({ cert, key });
  server.on("secureConnection", (socket) => socket.end());
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const names = await new Promise((done, failed) => {
    // Pebble's root is nobody's: what counts is that key and certificate fit, which TLS proves.
    const socket = tls.connect({ port: server.address().port, host: "127.0.0.1", servername: domain, rejectUnauthorized: false }, () => {
      done(socket.getPeerCertificate().subjectaltname);
      socket.destroy();
    });
    socket.on("error", failed);
  });
  await new Promise((done) => server.close(done));
  assert.ok(names.includes(`DNS:${domain}`), names);
}

try {
  await main();
} catch (error) {
  console.error(`at "${step}":`, error);
  const pages = browser.contexts().flatMap((context) => context.pages());
  for (const [place, page] of pages.entries()) await page.screenshot({ path: `${SCREENSHOTS}/failed-${place}.png` }).catch(() => {});
  process.exitCode = 1;
} finally {
  await browser.close();
  await cut();
}
for (const complaint of new Set(complaints)) {
  console.error(complaint);
  process.exitCode = 1;
}

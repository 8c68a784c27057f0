// The trader's page: looks again whenever the client tells of something, and says so when the client is gone.

import * as api from "./api.js";
import * as draw from "./draw.js";
import { atoms, decimalsOf, rateDecimals, text, time, until } from "./units.js";

const $ = (id) => document.getElementById(id);
const LOOK_MS = 400, BOOK_MS = 5000, RETRY_MS = 2000, EVENTS = 200;
const TOLD = {
  notice: (e) => e.text,
  server_accused: (e) => `${e.host} broke the rules: ${e.accusation}`,
  connected: (e) => `${e.host}: connected, tier ${e.tier}`,
  disconnected: (e) => `${e.host}: ${e.reason}`,
  match_made: (e) => `matched as ${e.role} on ${e.market}`,
  swap_step: (e) => `swap ${e.match_id.slice(0, 8)}: ${e.step.replaceAll("_", " ")}`,
  swap_ended: (e) => `swap ${e.match_id.slice(0, 8)}: ${e.outcome}`,
  order_changed: (e) => (e.side ? `${e.side} order on ${e.market}: ${e.status}` : ""),
  bond_changed: (e) => `bond in ${e.asset}: ${e.state}`,
  tier_changed: (e) => `tier ${e.tier} at ${e.host}`,
};

let markets = [], chosen = null, looking = 0, tag = crypto.randomUUID();

const side = () => document.querySelector("input[name=side]:checked").value;

// Looking -------------------------------------------------------------------------------------------------

async function look() {
  const [status, wallets, offered, orders, swaps] = await Promise.all(
    ["/status", "/wallets", "/markets", "/orders", "/swaps"].map(api.get),
  );
  $("network").textContent = status.network;
  $("network").hidden = false;
  safe(status.safe_until);
  $("balances").replaceChildren(...draw.balances(wallets));
  $("orders").replaceChildren(...draw.orders(offered, orders, cancel));
  $("swaps").replaceChildren(...draw.swaps(offered, swaps));
  offer(offered);
  await lookAtBook();
}

function safe(second) {
  const left = second === null ? "" : until(second);
  $("safe").textContent = second === null ? "Safe to close" : left ? `Safe to close until ${left}` : "Do not close: a swap is at its end";
  $("safe").classList.toggle("busy", second !== null);
}

async function lookAtBook() {
  if (!chosen) return;
  const told = await api.get(`/markets/${chosen.name}/book?host=${encodeURIComponent(chosen.host)}`);
  const place = $("book").scrollTop;
  $("book").replaceChildren(...draw.book(chosen, told, (rate) => { $("rate").value = rate; estimate(); }));
  $("book").scrollTop = place;
}

function offer(offered) {
  const before = chosen && `${chosen.host}/${chosen.name}`;
  const names = offered.map((market) => `${market.host}/${market.name}`);
  if (names.join() !== markets.map((market) => `${market.host}/${market.name}`).join()) {
    const several = new Set(offered.map((market) => market.host)).size > 1;
    $("market").replaceChildren(...offered.map((market, place) => draw.make("option", { value: place },
      `${market.base.toUpperCase()} / ${market.quote.toUpperCase()}${several ? ` at ${market.host}` : ""}`)));
    $("market").value = Math.max(0, names.indexOf(before));
  }
  markets = offered;
  chosen = markets[$("market").value] || null;
  $("quantity-unit").textContent = chosen ? `(${chosen.base.toUpperCase()}, lots of ${text(chosen.lot_size, decimalsOf(chosen.base_factor))})` : "";
  $("rate-unit").textContent = chosen ? `(${chosen.quote.toUpperCase()} per ${chosen.base.toUpperCase()})` : "";
  $("place").disabled = !chosen;
}

function soon() {
  looking ||= setTimeout(() => { looking = 0; attempt(look); }, LOOK_MS);
}

/** Whether it succeeded; what went wrong is shown. */
async function attempt(work) {
  try {
    await work();
    trouble("");
    return true;
  } catch (error) {
    if (error instanceof api.Gone) gone();
    else if (!(error instanceof api.Refusal)) throw error;
    else if (error.status === 401) lock(error.message);
    else trouble(error.message, error.fix);
    return error instanceof api.Refusal && error.status !== 401;
  }
}

// Trading -------------------------------------------------------------------------------------------------

function wanted() {
  const quantity = atoms($("quantity").value, decimalsOf(chosen.base_factor)), rate = atoms($("rate").value, rateDecimals(chosen));
  if (quantity === null || rate === null || !quantity || !rate) return null;
  return { market: chosen.name, host: chosen.host, side: side(), quantity, rate, post_only: $("post-only").checked };
}

async function estimate() {
  tag = crypto.randomUUID();
  const order = chosen && wanted();
  if (!order) return $("estimate").replaceChildren();
  try {
    $("estimate").replaceChildren(...draw.estimate(chosen, await api.post("/orders/estimate", order)));
    say("");
  } catch (error) {
    if (!(error instanceof api.Refusal)) return;
    $("estimate").replaceChildren();
    say(error.message, error.fix);
  }
}

async function place(event) {
  event.preventDefault();
  const order = wanted();
  if (!order) return say("Quantity and rate are decimal numbers.", " ");
  $("place").disabled = true;
  try {
    const placed = await api.post("/orders", { ...order, tag: `page-${tag}` }); // the same tag again places nothing
    say(`Order ${placed.id.slice(0, 12)}: ${placed.status}.`);
    tag = crypto.randomUUID();
    soon();
  } catch (error) {
    if (error instanceof api.Refusal) say(error.message, error.fix || " ");
    else say("No answer: press again, the order is placed once.", " ");
  } finally {
    $("place").disabled = false;
  }
}

async function cancel(row) {
  await attempt(async () => {
    await api.remove(`/orders/${row.id}?host=${encodeURIComponent(row.host)}`);
    soon();
  });
}

async function most() {
  const rate = chosen && atoms($("rate").value, rateDecimals(chosen));
  if (!rate) return say("Enter a rate first.", " ");
  await attempt(async () => {
    const told = await api.get(`/markets/${chosen.name}/largest?host=${encodeURIComponent(chosen.host)}&side=${side()}&rate=${rate}`);
    $("quantity").value = text(told.quantity, decimalsOf(chosen.base_factor));
    await estimate();
  });
}

function say(message, wrong = "") {
  $("answer").textContent = [message, wrong.trim()].filter(Boolean).join(" — ");
  $("answer").classList.toggle("wrong", Boolean(wrong));
}

function turn() {
  const buys = side() === "buy";
  $("order").classList.toggle("buying", buys);
  $("order").classList.toggle("selling", !buys);
  $("place").textContent = buys ? "Buy" : "Sell";
  estimate();
}

// The client comes and goes -----------------------------------------------------------------------------

function trouble(message, fix = "") {
  $("trouble").textContent = [message, fix].filter(Boolean).join(" ");
  $("trouble").hidden = !message;
}

function gone() {
  document.body.classList.add("gone");
  trouble("The client does not answer.", "Swaps are settled only while it runs: start it again with “twinlock client run”. This page comes back by itself.");
}

function lock(message) {
  api.dropKey();
  document.body.classList.remove("gone");
  $("main").hidden = true;
  $("unlock").hidden = false;
  trouble(message);
  $("key").focus();
}

function heard(event) {
  const told = TOLD[event.event]?.(event);
  if (told) {
    const level = event.event === "server_accused" ? "error" : event.level || "";
    $("events").prepend(draw.make("li", { className: level }, draw.make("time", {}, time(event.at)), told));
    while ($("events").children.length > EVENTS) $("events").lastChild.remove();
  }
  soon();
}

/** Look, then listen; when the client goes, try again until it is back. */
async function open() {
  const again = () => setTimeout(open, RETRY_MS);
  if (!(await attempt(look))) return document.body.classList.contains("gone") && again();
  document.body.classList.remove("gone");
  $("unlock").hidden = true;
  $("main").hidden = false;
  api.listen(heard, () => { gone(); again(); });
}

// The page ------------------------------------------------------------------------------------------------

function theme(flip = false) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  let now = localStorage.getItem("twinlock.theme") || (dark ? "dark" : "light");
  if (flip) {
    now = now === "dark" ? "light" : "dark";
    localStorage.setItem("twinlock.theme", now);
  }
  document.documentElement.dataset.theme = now;
}

const KEYS = {
  b: () => choose("buy"), s: () => choose("sell"), m: () => $("market").focus(), t: () => theme(true),
};

function choose(name) {
  document.querySelector(`input[name=side][value=${name}]`).checked = true;
  turn();
  $("quantity").focus();
}

document.addEventListener("keydown", (event) => {
  const writes = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && !["radio", "checkbox"].includes(event.target.type);
  if (writes || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
$("theme").onclick = () => theme(true);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
$("market").onchange = () => { offer(markets); attempt(lookAtBook); estimate(); };
for (const input of document.querySelectorAll("input[name=side]")) input.onchange = turn;
for (const id of ["quantity", "rate"]) $(id).oninput = estimate;
$("most").onclick = most;
$("order").onsubmit = place;
$("unlock").onsubmit = (event) => { event.preventDefault(); api.keepKey($("key").value.trim()); $("key").value = ""; open(); };
addEventListener("hashchange", () => { api.takeKey(); open(); });
setInterval(() => document.body.classList.contains("gone") || $("main").hidden || attempt(lookAtBook), BOOK_MS);

theme();
turn();
if (api.takeKey()) open();
else lock("");

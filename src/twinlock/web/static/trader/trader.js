// The trader's page: looks again whenever the client tells of something, and says so when the client is gone.

import * as api from "./api.js";
import * as bookside from "./book.js";
import * as draw from "./draw.js";
import * as ticket from "./ticket.js";
import { digits, rateDecimals, text, time, until } from "./units.js";

const $ = (id) => document.getElementById(id);
const LOOK_MS = 400, BOOK_MS = 5000, CHART_MS = 60_000, RETRY_CHART_MS = 15_000, RETRY_MS = 2000, EVENTS = 200;
const PAGE = 50, MOST_SHOWN = 1000, shown = { orders: PAGE, swaps: PAGE };
const TOLD = {
  notice: (e) => e.text,
  server_accused: (e) => `${e.host} broke the rules: ${e.accusation}`,
  connected: (e) => `${e.host}: connected, tier ${e.tier}`,
  disconnected: (e) => `${e.host}: ${e.reason}`,
  match_made: (e) => `matched as ${e.role} on ${e.market}`,
  swap_step: (e) => `swap ${e.match_id.slice(0, 8)}: ${e.step.replaceAll("_", " ")}`,
  swap_ended: (e) => `swap ${e.match_id.slice(0, 8)}: ${e.outcome}`,
  order_changed: (e) => (e.side ? `${e.side} order on ${e.market}: ${e.status === "executed" && !e.filled ? "ended, nothing matched" : e.status}` : ""),
  condition_changed: (e) => `${e.name}: ${e.status}${e.reason ? `, ${e.reason}` : ""}`,
  bond_changed: (e) => `bond in ${e.asset}: ${e.state}`,
  tier_changed: (e) => `tier ${e.tier} at ${e.host}`,
};

let markets = [], chosen = null, looking = 0, charted = { market: "", at: 0 }, worry = ["", ""];

// Looking -------------------------------------------------------------------------------------------------

async function look() {
  const [status, wallets, offered, orders, swaps, waiting] = await Promise.all(
    ["/status", "/wallets", "/markets", `/orders?count=${shown.orders}`, `/swaps?count=${shown.swaps}`, "/conditions?state=open"].map(api.get),
  );
  $("network").textContent = status.network;
  $("network").hidden = false;
  safe(status.safe_until);
  $("venues").replaceChildren(...draw.venues(status.venues));
  worry = draw.worry(status.venues);
  $("balances").replaceChildren(...draw.balances(wallets));
  $("orders").replaceChildren(...draw.orders(offered, orders, cancel), ...older("orders", orders));
  $("conditions").replaceChildren(...draw.conditions(offered, waiting, giveUp));
  $("swaps").replaceChildren(...draw.swaps(offered, swaps), ...older("swaps", swaps));
  offer(offered);
  await lookAtBook();
}

/** A button for more of what is over, if there may be more. What is open is always there. */
function older(what, rows) {
  if (rows.filter((row) => row.cursor).length < shown[what] || shown[what] >= MOST_SHOWN) return [];
  const more = () => { shown[what] += PAGE; attempt(look); };
  return [draw.make("button", { type: "button", className: "older", onclick: more }, `Show older ${what}`)];
}

function safe(second) {
  const left = second === null ? "" : until(second);
  $("safe").textContent = second === null ? "Safe to close" : left ? `Safe to close until ${left}` : "Do not close: a swap is at its end";
  $("safe").classList.toggle("busy", second !== null);
}

/** Looking makes new objects of the same markets. */
const stillChosen = (market) => market.host === chosen?.host && market.name === chosen.name;

async function lookAtBook() {
  if (!chosen) return ticket.about(null, null);
  const at = chosen, told = await api.get(`/markets/${at.name}/book?host=${encodeURIComponent(at.host)}`);
  if (!stillChosen(at)) return;
  const held = document.activeElement?.closest("#book button")?.getAttribute("aria-label");
  $("book").replaceChildren(...bookside.book(at, told, ticket.take));
  if (held) [...$("book").querySelectorAll("button")].find((row) => row.getAttribute("aria-label") === held)?.focus();
  ticket.about(at, told);
  title();
  await lookAtPrices();
}

async function lookAtPrices() {
  const at = chosen, name = `${at.host}/${at.name}`;
  if (charted.market === name && Date.now() - charted.at < CHART_MS) return;
  charted = { market: name, at: Date.now() };
  try {
    const candles = await api.get(`/markets/${at.name}/candles?bin=5m&count=288&host=${encodeURIComponent(at.host)}`);
    if (stillChosen(at)) $("chart").replaceChildren(...bookside.chart(at, candles));
  } catch (error) {
    if (!(error instanceof api.Refusal)) throw error;
    charted.at -= CHART_MS - RETRY_CHART_MS;
    $("chart").replaceChildren(); // a server without candles has a book all the same
  }
}

function title() {
  const rate = chosen?.last_rate && text(chosen.last_rate, rateDecimals(chosen), digits(chosen.rate_step, rateDecimals(chosen)));
  document.title = [rate, chosen && `${chosen.base}/${chosen.quote}`.toUpperCase(), "Twinlock"].filter(Boolean).join(" · ");
}

function offer(offered) {
  const before = chosen && `${chosen.host}/${chosen.name}`;
  const names = offered.map((market) => `${market.host}/${market.name}`);
  if (names.join() !== markets.map((market) => `${market.host}/${market.name}`).join()) {
    const several = draw.several(offered);
    $("market").replaceChildren(...offered.map((market, place) => draw.make("option", { value: place },
      `${market.base.toUpperCase()} / ${market.quote.toUpperCase()}${several ? ` at ${market.host}` : ""}`)));
    $("market").value = Math.max(0, names.indexOf(before));
  }
  markets = offered;
  chosen = markets[$("market").value] || null;
}

function soon() {
  looking ||= setTimeout(() => { looking = 0; attempt(look); }, LOOK_MS);
}

/** Whether it succeeded; what went wrong is shown. */
async function attempt(work) {
  try {
    await work();
    trouble(...worry);
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

async function cancel(row) {
  await attempt(async () => {
    await api.remove(`/orders/${row.id}?host=${encodeURIComponent(row.host)}`);
    soon();
  });
}

async function giveUp(row) {
  await attempt(async () => {
    await api.remove(`/conditions/${encodeURIComponent(row.name)}?host=${encodeURIComponent(row.host)}`);
    soon();
  });
}

// The client comes and goes -----------------------------------------------------------------------------

function trouble(message, fix = "") {
  $("trouble").textContent = [message, fix].filter(Boolean).join(" ");
  $("trouble").hidden = !message;
}

function gone() {
  document.body.classList.add("gone");
  $("safe").textContent = $("main").hidden ? "" : "Do not rely on what stands here";
  $("safe").classList.add("busy");
  trouble("The client does not answer.", "Swaps are settled only while it runs: start it again with “twinlock client run”. This page comes back by itself.");
}

function lock(message) {
  api.dropKey();
  document.body.classList.remove("gone");
  $("main").hidden = $("loading").hidden = true;
  $("unlock").hidden = false;
  trouble(message);
  $("key").focus();
}

function heard(event) {
  const told = TOLD[event.event]?.(event);
  if (event.event === "match_made") charted.at = 0;
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
  $("loading").hidden = !$("main").hidden;
  $("unlock").hidden = true;
  if (!(await attempt(look))) return document.body.classList.contains("gone") && again();
  document.body.classList.remove("gone");
  $("loading").hidden = true;
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
  b: () => ticket.choose("buy"), s: () => ticket.choose("sell"), m: () => $("market").focus(), t: () => theme(true),
};

document.addEventListener("keydown", (event) => {
  const writes = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && !["radio", "checkbox"].includes(event.target.type);
  if (writes || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
$("theme").onclick = () => theme(true);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
$("market").onchange = () => { offer(markets); attempt(lookAtBook).then(ticket.estimate); };
$("unlock").onsubmit = (event) => { event.preventDefault(); api.keepKey($("key").value.trim()); $("key").value = ""; open(); };
addEventListener("hashchange", () => { api.takeKey(); open(); });
setInterval(() => document.body.classList.contains("gone") || $("main").hidden || attempt(lookAtBook), BOOK_MS);

theme();
ticket.begin(soon);
if (api.takeKey()) open();
else lock("");

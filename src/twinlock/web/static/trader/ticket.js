// The order form: what is wanted, what it would cost, and placing it once.

import * as api from "./api.js";
import { make } from "./draw.js";
import { atoms, decimalsOf, digits, rateDecimals, text } from "./units.js";

const $ = (id) => document.getElementById(id);
const side = () => document.querySelector("input[name=side]:checked").value;
const market = () => $("kind").value === "market";
const stops = () => $("kind").value === "stop";

/** A message-rate is quote atoms for so many base atoms. */
const ATOMS = 100_000_000n;

let chosen = null, told = null, tag = crypto.randomUUID(), asked = 0, placed = () => {};

/** chosen: the market; told: its book, by which market orders are weighed. */
export function about(now, book) {
  chosen = now;
  told = book;
  const base = chosen?.base.toUpperCase(), quote = chosen?.quote.toUpperCase();
  const lots = chosen && `${base}, lots of ${text(chosen.lot_size, decimalsOf(chosen.base_factor))}`;
  $("quantity-title").textContent = spends() ? "Spend" : "Quantity";
  $("quantity-unit").textContent = chosen ? `(${spends() ? quote : lots})` : "";
  for (const id of ["rate-unit", "stop-unit"]) $(id).textContent = chosen ? `(${quote} per ${base})` : "";
  $("place").disabled = !chosen;
  if (market()) weigh();
}

/** A market buy names what it spends. */
const spends = () => market() && side() === "buy";

const quantityDecimals = () => decimalsOf(spends() ? chosen.quote_factor : chosen.base_factor);

/** The order that the form describes, or null while it describes none. */
function wanted() {
  const quantity = atoms($("quantity").value, quantityDecimals());
  const order = { market: chosen.name, host: chosen.host, side: side(), quantity };
  if (!quantity) return null;
  if (market()) return { ...order, type: "market" };
  const rate = atoms($("rate").value, rateDecimals(chosen)), stop = atoms($("stop").value, rateDecimals(chosen));
  const minutes = atoms($("expires").value || "0", 0);
  if (!rate || minutes === null || (stops() && !stop)) return null;
  const options = { post_only: $("post-only").checked, expiry: minutes ? Date.now() + minutes * 60_000 : 0 };
  if (stops()) return { ...order, ...options, rate, stop };
  return { ...order, ...options, rate, split: $("split").checked };
}

// What it would cost --------------------------------------------------------------------------------------

export async function estimate() {
  tag = crypto.randomUUID();
  const order = chosen && wanted(), mine = ++asked;
  if (!order) return show([]);
  if (market()) return weigh();
  const { market: name, host, side: way, quantity, rate } = order;
  try {
    const found = await api.post("/orders/estimate", { market: name, host, side: way, quantity, rate });
    if (mine !== asked) return; // somebody typed on
    show(rows(found));
    say("");
  } catch (error) {
    if (mine !== asked || !(error instanceof api.Refusal)) return;
    show([]);
    say(error.message, error.fix);
  }
}

function rows(found) {
  const of = (symbol) => decimalsOf(symbol === chosen.base ? chosen.base_factor : chosen.quote_factor);
  const pays = (sum) => `${text(sum, of(found.pays))} ${found.pays.toUpperCase()}`;
  const gets = (sum) => `${text(sum, of(found.gets))} ${found.gets.toUpperCase()}`;
  const splits = $("split").checked && found.split_locked;
  const shown = [
    ["You give at most", pays(found.worst.gives + (splits ? found.split_fee : 0))],
    ["You get at least", gets(found.worst.gets)],
    ["Locked meanwhile", pays(splits ? found.split_locked : found.locked)],
  ];
  if (found.missing) shown.push(["Missing", pays(found.missing)]);
  else if (!splits && found.split_locked && found.locked > 2 * found.split_locked)
    shown.push(["With a split", `locks ${pays(found.split_locked)} for ${pays(found.split_fee)}`]);
  return shown;
}

/** What the book would give for a market order now, by whole lots. */
function weigh() {
  const order = chosen && told && wanted();
  if (!order) return show([]);
  let left = order.quantity, base = 0, quote = 0;
  for (const row of order.side === "buy" ? told.sells : told.buys) {
    const whole = spends() ? Number((BigInt(left) * ATOMS) / BigInt(row.rate)) : left;
    const taken = Math.min(row.quantity, whole - (whole % chosen.lot_size));
    if (taken <= 0) break;
    const cost = Number((BigInt(taken) * BigInt(row.rate)) / ATOMS);
    base += taken;
    quote += cost;
    left -= spends() ? cost : taken;
  }
  const written = [`${text(base, decimalsOf(chosen.base_factor))} ${chosen.base.toUpperCase()}`, `${text(quote, decimalsOf(chosen.quote_factor))} ${chosen.quote.toUpperCase()}`];
  const [gives, gets] = spends() ? [written[1], written[0]] : written;
  show(base ? [["Now the book takes", gives], ["and gives, less fees", gets]] : [["Now the book gives", "nothing"]]);
}

const show = (shown) => $("estimate").replaceChildren(...shown.flatMap(([title, value]) => [make("dt", {}, title), make("dd", {}, value)]));

export async function most() {
  const rate = chosen && atoms($("rate").value, rateDecimals(chosen));
  if (!rate) return say("Enter a rate first.", " ");
  try {
    const found = await api.get(`/markets/${chosen.name}/largest?host=${encodeURIComponent(chosen.host)}&side=${side()}&rate=${rate}`);
    $("quantity").value = text(found.quantity, decimalsOf(chosen.base_factor), digits(chosen.lot_size, decimalsOf(chosen.base_factor)));
    await estimate();
  } catch (error) {
    if (error instanceof api.Refusal) say(error.message, error.fix || " ");
    else say("The client does not answer.", " ");
  }
}

// Placing -------------------------------------------------------------------------------------------------

async function place(event) {
  event.preventDefault();
  const order = chosen && wanted();
  if (!order) return say("Quantity and rate are decimal numbers.", " ");
  $("place").disabled = true;
  try {
    say(stops() ? await wait(order) : await send(order)); // the same name again places nothing
    tag = crypto.randomUUID();
    placed();
  } catch (error) {
    if (error instanceof api.Refusal) say(error.message, error.fix || " ");
    else say("No answer: press again, the order is placed once.", " ");
  } finally {
    $("place").disabled = false;
  }
}

async function send(order) {
  const made = await api.post("/orders", { ...order, tag: `page-${tag}` });
  return `Order ${made.id.slice(0, 12)}: ${made.status}.`;
}

async function wait(order) {
  const made = await api.post("/conditions", { ...order, name: `page-${tag.slice(0, 8)}` });
  return `Waiting for the price: ${made.status}. The client has to run.`;
}

function say(message, wrong = "") {
  $("answer").textContent = [message, wrong.trim()].filter(Boolean).join(" — ");
  $("answer").classList.toggle("wrong", Boolean(wrong));
}

// The form ------------------------------------------------------------------------------------------------

export function turn() {
  const buys = side() === "buy", verb = buys ? "Buy" : "Sell";
  $("order").classList.toggle("buying", buys);
  $("order").classList.toggle("selling", !buys);
  $("place").textContent = { limit: verb, market: `${verb} at the market`, stop: `${verb} once the price is there` }[$("kind").value];
  for (const field of document.querySelectorAll("[data-kinds]")) field.hidden = !field.dataset.kinds.split(" ").includes($("kind").value);
  $("rate").required = !market();
  $("stop").required = stops();
  about(chosen, told);
  estimate();
}

export function choose(name) {
  document.querySelector(`input[name=side][value=${name}]`).checked = true;
  turn();
  $("quantity").focus();
}

/** Take a rate of the book over. */
export function take(rate) {
  if (market()) $("kind").value = "limit";
  $("rate").value = rate;
  turn();
}

/** after: called when something was placed. */
export function begin(after) {
  placed = after;
  for (const input of document.querySelectorAll("input[name=side]")) input.onchange = turn;
  $("kind").onchange = turn;
  for (const id of ["quantity", "rate", "split"]) $(id).oninput = estimate;
  $("most").onclick = most;
  $("order").onsubmit = place;
  turn();
}

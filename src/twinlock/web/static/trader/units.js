// Amounts travel as whole atoms; nothing is rounded on the way to the eye and back.

export const decimalsOf = (factor) => String(factor).length - 1;

/** least: digits behind the point that are written even if they are zeros, so that columns line up. */
export function text(atoms, decimals, least = 0) {
  const whole = BigInt(atoms);
  const digits = (whole < 0n ? -whole : whole).toString().padStart(decimals + 1, "0");
  const cut = digits.length - decimals;
  const part = digits.slice(cut).replace(/0+$/, "").padEnd(Math.min(least, decimals), "0");
  return (whole < 0n ? "-" : "") + digits.slice(0, cut) + (part ? "." + part : "");
}

/** Atoms of a decimal number, or null where it is none or too fine. */
export function atoms(written, decimals) {
  const found = /^\s*(\d*)(?:[.,](\d*))?\s*$/.exec(written);
  if (!found || !(found[1] || found[2])) return null;
  const part = (found[2] || "").replace(/0+$/, "");
  if (part.length > decimals) return null;
  const whole = BigInt((found[1] || "0") + part.padEnd(decimals, "0"));
  return whole > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(whole);
}

/** How many digits behind the point multiples of `step` may need. */
export function digits(step, decimals) {
  const part = text(step, decimals).split(".")[1];
  return part ? part.length : 0;
}

/** Digits behind the point of a market's rate: a message-rate is quote atoms for 10^8 base atoms. */
export const rateDecimals = (market) => 8 + decimalsOf(market.quote_factor) - decimalsOf(market.base_factor);

export const time = (ms) => (ms ? new Date(ms).toLocaleTimeString() : "");

/** A time to come, in s, with how far it is; empty if it is over. */
export function until(second) {
  const left = second - Date.now() / 1000;
  if (left <= 0) return "";
  const hours = Math.floor(left / 3600), minutes = Math.floor((left % 3600) / 60);
  const day = new Date(second * 1000);
  const clock = day.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const date = day.toDateString() === new Date().toDateString() ? "" : day.toLocaleDateString() + " ";
  return `${date}${clock} (in ${hours} h ${minutes} min)`;
}

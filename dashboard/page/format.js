// How figures and times are written for people.

/** none stands for a figure that there is not. */
export const none = "–";

/** count writes a number that is not negative in four characters or so. */
export function count(n) {
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (n < 999.5 || unit === "T") return short(n) + unit;
    n /= 1000;
  }
}

function short(n) {
  if (n === 0) return "0";
  if (n < 0.05) return "<0.1";
  return n < 9.95 ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n).toString();
}

/** ms writes milliseconds; 0 stands for no observation. */
export function ms(n) {
  if (!n) return none;
  if (n >= 59950) return `${count(n / 60000)} min`;
  if (n >= 999.5) return `${(n / 1000).toFixed(n < 9995 ? 1 : 0)} s`;
  if (n < 0.95) return `${Math.max(Math.round(n * 1000), 1)} µs`;
  return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ms`;
}

/** bytes writes bytes, in powers of 1000. */
export function bytes(n) {
  if (n < 999.5) return `${Math.round(n)} B`;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    n /= 1000;
    if (n < 999.5 || unit === "TB") return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ${unit}`;
  }
}

/** span writes a duration in milliseconds by its greatest unit. */
export function span(n) {
  const s = Math.max(Math.floor(n / 1000), 0);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** clock writes the time of day of a Date. */
export function clock(at) {
  return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** moment writes a Date whole. */
export function moment(at) {
  return at.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

/** plural writes a number of things. */
export function plural(n, one, many) {
  return `${n} ${n === 1 ? one : many}`;
}

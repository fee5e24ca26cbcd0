// Numbers and times as a person reads them.

const formats = new Map();
function format(digits, notation) {
  const key = `${digits} ${notation}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en", { maximumSignificantDigits: digits, notation }));
  return formats.get(key);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

// Six digits, or as many as tell values apart that lie `spread` from one another.
export const number = (value, spread = 0) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const needed = spread > 0 && size > 0 ? Math.ceil(Math.log10(size / spread)) + 4 : 0;
  const extreme = size >= 1e12 || (size > 0 && size < 1e-6);
  return format(Math.min(15, Math.max(6, needed)), extreme ? "scientific" : "standard").format(value);
};
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const rate = (value) => (value === undefined ? "–" : value < 100 ? one.format(value) : whole.format(value));

export const latency = (took) => {
  if (took === null || took === undefined) return "–";
  return took < 1 ? `${number(Number((1000 * took).toPrecision(3)))} ms` : `${one.format(took)} s`;
};

const UNITS = [["d", 86400e3], ["h", 3600e3], ["min", 60e3], ["s", 1e3], ["ms", 1]];
export const duration = (milliseconds) => {
  const [unit, size] = UNITS.find(([, size]) => milliseconds >= size) ?? UNITS.at(-1);
  return `${one.format(milliseconds / size)} ${unit}`;
};

const utc = (parts) => new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });
const short = { hour: "2-digit", minute: "2-digit" };
const exactly = { weekday: "short", day: "numeric", month: "short", ...short, second: "2-digit" };
const [thisYear, anyYear] = [utc(exactly), utc({ ...exactly, year: "numeric" })];
const [minutes, seconds] = [utc(short), utc({ ...short, second: "2-digit" })];
const [days, months] = [utc({ day: "numeric", month: "short" }), utc({ month: "short", year: "numeric" })];
export const time = (milliseconds) => {
  const year = (date) => date.getUTCFullYear();
  const text = year(new Date(milliseconds)) === year(new Date()) ? thisYear : anyYear;
  return `${text.format(milliseconds).replace(/:00$/, "")} UTC`;
};
export const clock = (milliseconds, fine) => (fine ? seconds : minutes).format(milliseconds);
export const day = (milliseconds, step) => (step >= 28 * 86_400 ? months : days).format(milliseconds);

export const percent = (chance) => (chance > 0 && chance < 0.001 ? "< 0.1 %" : `${one.format(100 * chance)} %`);

// The share of actuals between the outermost levels, such as "80 %".
export const share = (levels) => `${number(Number((100 * (levels.at(-1) - levels[0])).toFixed(2)))} %`;

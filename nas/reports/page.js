// An SVG element inside `parent`.
function addTo(parent, name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent.appendChild(element);
}

// Linear map from [low, high], widened a little, to pixels.
function scale(values, from, to, forward) {
  let low = Math.min(...values.map(forward)), high = Math.max(...values.map(forward));
  const margin = (high - low) * 0.05 || 0.05;
  low -= margin; high += margin;
  return { low, high, pixel: value => from + (forward(value) - low) / (high - low) * (to - from) };
}

// Round steps (1, 2, 5 times a power of ten) that cut the range into about `count` parts.
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw);
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) values.push(i * step);
  return values;
}

function logTicks(low, high) {
  if (high / low < 10) return ticks(low, high, 7);
  const values = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const factor of [1, 2, 5]) values.push(factor * 10 ** power);
  return values.filter(value => value >= low && value <= high);
}

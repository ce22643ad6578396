/** The vector to a point from the nearest place on an open chain. */
export function nearestOffset([x, y], chain) {
  let [best, least] = [[NaN, NaN], Infinity];
  for (let i = 0; i + 1 < chain.length; i++) {
    const [ax, ay] = [chain[i + 1][0] - chain[i][0], chain[i + 1][1] - chain[i][1]];
    const [ox, oy] = [x - chain[i][0], y - chain[i][1]];
    const share = Math.min(1, Math.max(0, (ox * ax + oy * ay) / (ax * ax + ay * ay || 1)));
    const offset = [ox - share * ax, oy - share * ay];
    const square = offset[0] ** 2 + offset[1] ** 2;
    if (square < least) [best, least] = [offset, square];
  }
  return best;
}

// Least squares with a penalty on the weights and none on the intercept, by the Cholesky factor of the Gram matrix.

/**
 * Minimises Σ (targets - rows · W - b)² + λ Σ W² for rows [n][k] and targets [n][m].
 * Returns weights [m][k] and intercepts [m], which are 0 without `centred`.
 */
export function ridge(rows, targets, lambda, centred) {
  const unknowns = rows[0].length;
  const mean = (table, column) => table.reduce((sum, row) => sum + row[column], 0) / table.length;
  const middle = Array.from({ length: unknowns }, (_, column) => (centred ? mean(rows, column) : 0));
  const level = Array.from({ length: targets[0].length }, (_, column) => (centred ? mean(targets, column) : 0));
  const moved = rows.map((row) => Float64Array.from(row, (value, column) => value - middle[column]));
  const gram = Array.from({ length: unknowns }, () => new Float64Array(unknowns));
  for (const row of moved) {
    for (let i = 0; i < unknowns; i++) {
      for (let j = 0; j <= i; j++) gram[i][j] += row[i] * row[j];
    }
  }
  for (let i = 0; i < unknowns; i++) gram[i][i] += lambda;
  const factor = cholesky(gram);
  const weights = level.map((average, m) => {
    const right = new Float64Array(unknowns);
    moved.forEach((row, n) => {
      for (let i = 0; i < unknowns; i++) right[i] += row[i] * (targets[n][m] - average);
    });
    return solve(factor, right);
  });
  const intercepts = level.map((average, m) => average - weights[m].reduce((sum, w, i) => sum + w * middle[i], 0));
  return { weights, intercepts };
}

/** The lower triangle L with L · Lᵀ = matrix, of which the lower triangle is read. */
function cholesky(matrix) {
  const lower = matrix.map((row) => new Float64Array(row.length));
  for (let i = 0; i < matrix.length; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = matrix[i][j];
      for (let k = 0; k < j; k++) rest -= lower[i][k] * lower[j][k];
      if (i === j && !(rest > 0)) throw new Error(`the Gram matrix is not positive definite at row ${i}`);
      lower[i][j] = i === j ? Math.sqrt(rest) : rest / lower[j][j];
    }
  }
  return lower;
}

/** x with L · Lᵀ · x = right. */
function solve(lower, right) {
  const x = Float64Array.from(right);
  for (let i = 0; i < x.length; i++) {
    for (let k = 0; k < i; k++) x[i] -= lower[i][k] * x[k];
    x[i] /= lower[i][i];
  }
  for (let i = x.length - 1; i >= 0; i--) {
    for (let k = i + 1; k < x.length; k++) x[i] -= lower[k][i] * x[k];
    x[i] /= lower[i][i];
  }
  return x;
}

// The focal loss of a pixel that belongs to one class, and its slope.

// Computes e^gamma, from e and from -log(e), which has more digits if e is close to 1.
INLINE Floats power(Floats e, float gamma, Floats minus_log) {
    if (gamma == 0.f) return broadcast(1.f);
    if (gamma == 1.f) return e;
    if (gamma == 2.f) return e * e;
    return exp_of_negative(-gamma * minus_log);
}
INLINE Floats power(Floats e, Floats gamma, Floats minus_log) {
    return gamma == 0.f ? broadcast(1.f) : gamma == 1.f ? e : gamma == 2.f ? e * e : exp_of_negative(-gamma * minus_log);
}

// Computes the focal loss of a pixel, alpha e^gamma nll, with e = 1 - p and nll = -log p.
template <class Number> INLINE Floats focal(Number gamma, Number alpha, Floats e, Floats minus_log_e, Floats nll) {
    return alpha * power(e, gamma, minus_log_e) * nll;
}

// Computes its slope with respect to the logit of e, alpha e^gamma (gamma p nll + e). The caller must
// not compute p as 1 - e: if e is close to 1, nll is large, and p needs its digits.
template <class Number>
INLINE Floats focal_slope(Number gamma, Number alpha, Floats p, Floats e, Floats minus_log_e, Floats nll) {
    return alpha * power(e, gamma, minus_log_e) * (gamma * p * nll + e);
}

/* exp, log, tanh and their relatives, as plain arithmetic without branches, so that loops over them become vector instructions.

   NaN stays NaN, and infinities give what they give in mathematics. The errors are a few units in the last place; tests/test_compiled.py has the
   limits. Where two forms are possible, `a ? b : c` is written with the operands computed before, which makes it a selection. */
#ifndef MATHS_H
#define MATHS_H

#include "kernel.h"

#define BIAS ((word)(sizeof(real) == 4 ? 127 : 1023))                  /* of the exponent */
#define SHIFTER (sizeof(real) == 4 ? (real)12582912 : (real)6755399441055744)   /* 1.5·2^DIGITS: adding it rounds to an integer */

INLINE word to_bits(real x) {
    word w;
    memcpy(&w, &x, sizeof w);
    return w;
}

INLINE real from_bits(word w) {
    real x;
    memcpy(&x, &w, sizeof x);
    return x;
}

INLINE real larger(real a, real b) { return a > b ? a : b; }     /* b if one is NaN */
INLINE real smaller(real a, real b) { return a < b ? a : b; }
INLINE real magnitude(real x) { return x < 0 ? -x : x; }

/* 2^n for an integer n of the exponent's range */
INLINE real power_of_two(word n) { return from_bits((word)((uint64_t)(n + BIAS) << DIGITS)); }

/* (e^r - 1 - r)/r² for |r| <= log(2)/2, by Taylor's series */
INLINE real exp_tail(real r) {
    real s;
#ifdef FLOAT
    s = (real)(1 / 5040.0);
#else
    s = (real)(1 / 6227020800.0);
    s = s * r + (real)(1 / 479001600.0);
    s = s * r + (real)(1 / 39916800.0);
    s = s * r + (real)(1 / 3628800.0);
    s = s * r + (real)(1 / 362880.0);
    s = s * r + (real)(1 / 40320.0);
    s = s * r + (real)(1 / 5040.0);
#endif
    s = s * r + (real)(1 / 720.0);
    s = s * r + (real)(1 / 120.0);
    s = s * r + (real)(1 / 24.0);
    s = s * r + (real)(1 / 6.0);
    return s * r + (real)0.5;
}

/* x = n·log 2 + r with |r| <= log(2)/2: log 2 in two parts, the first with so few digits that its product with n is exact */
INLINE real reduce(real x, word *n) {
    real shifted = x * (real)1.4426950408889634 + SHIFTER, k = shifted - SHIFTER;
    *n = to_bits(shifted) - to_bits(SHIFTER);
#ifdef FLOAT
    return (x - k * 0.693145751953125f) - k * 1.42860677e-6f;
#else
    return (x - k * 0.69314718036912382) - k * 1.9082149292705877e-10;
#endif
}

/* e^x = 2^n·e^r */
INLINE real real_exp(real x) {
#ifdef FLOAT
    real low = -104, high = 89;
#else
    real low = -746, high = 710;
#endif
    word n;
    real a = x < low ? low : x, b = a > high ? high : a, r = reduce(b, &n), e = 1 + (r + r * r * exp_tail(r));
    word half = n >> 1;                 /* 2^n in two factors, since n may be beyond the exponents, and the result denormal */
    return e * power_of_two(half) * power_of_two(n - half);
}

/* e^x - 1 = 2^n·(e^r - 1) + (2^n - 1), for x <= 88 */
INLINE real real_expm1(real x) {
    real low = sizeof(real) == 4 ? -30 : -60;
    word n;
    real b = x < low ? low : x, r = reduce(b, &n), p = power_of_two(n), e = (r + r * r * exp_tail(r)) * p + (p - 1);
    return x == 0 ? x : e;
}

/* tanh x = -m/(2 + m) with m = e^(-2|x|) - 1 */
INLINE real real_tanh(real x) {
    real m = real_expm1(-2 * magnitude(x)), t = -m / (2 + m);
    real s = x < 0 ? -t : t;
    return x == 0 ? x : s;
}

/* 1/(1 + e^-x) */
INLINE real real_sigmoid(real x) { return 1 / (1 + real_exp(-x)); }

/* 2·artanh(s) = log((1 + s)/(1 - s)) = 2(s + s³/3 + s⁵/5 + ...) without the first term, for |s| <= 0.1716 */
INLINE real artanh_tail(real s) {
    real v = s * s, t;
#ifdef FLOAT
    t = (real)(2 / 11.0);
#else
    t = (real)(2 / 23.0);
    t = t * v + (real)(2 / 21.0);
    t = t * v + (real)(2 / 19.0);
    t = t * v + (real)(2 / 17.0);
    t = t * v + (real)(2 / 15.0);
    t = t * v + (real)(2 / 13.0);
    t = t * v + (real)(2 / 11.0);
#endif
    t = t * v + (real)(2 / 9.0);
    t = t * v + (real)(2 / 7.0);
    t = t * v + (real)(2 / 5.0);
    t = t * v + (real)(2 / 3.0);
    return t * v * s;
}

/* log x = n·log 2 + log m with √½ <= m < √2; with f = m - 1 and s = f/(2 + f), log m = 2s + … = f - f·s + … */
INLINE real real_log(real x) {
    real tiny = power_of_two(1 - BIAS), up = power_of_two(DIGITS + 1);
    word denormal = x < tiny;
    real scaled = denormal ? x * up : x;
    word w = to_bits(scaled), n = (w - to_bits((real)0.70710678118654752)) >> DIGITS;
    real m = from_bits(w - (word)((uint64_t)n << DIGITS)), f = m - 1, s = f / (2 + f);
    real k = (real)(n - (denormal ? DIGITS + 1 : 0));
#ifdef FLOAT
    real y = k * 0.693145751953125f + (f + (k * 1.42860677e-6f + (artanh_tail(s) - f * s)));
#else
    real y = k * 0.69314718036912382 + (f + (k * 1.9082149292705877e-10 + (artanh_tail(s) - f * s)));
#endif
    real at_zero = x == 0 ? -(real)INFINITY : (real)NAN;
    y = x > 0 ? y : at_zero;
    return x < (real)INFINITY ? y : x;  /* also NaN */
}

/* log(1 + e) for e >= 0: the logarithm of the rounded sum u, corrected by what rounding left */
INLINE real real_log1p(real e) {
    real u = 1 + e, y = real_log(u) + (e - (u - 1)) / u;
    return u < (real)INFINITY ? y : u;
}

/* e^(z²)·erfc(z)/t for z >= 0 and t = 1/(1 + MILLS·z): a polynomial in u = 2t - 1, which interpolates at Chebyshev's nodes */
#ifdef FLOAT
#define MILLS 0.4f
static const real mills[] = {
    0.42161274f, 0.32186076f, 0.1815657f, 0.06849977f, 0.011343547f, -0.0033531552f, -0.001921382f, 0.00016544152f, 0.00026648832f,
    -1.07462365e-05f, -2.9168583e-05f,
};
#else
#define MILLS 0.3
static const real mills[] = {
    0.3249799218597969, 0.2765235567560654, 0.19878107804432643, 0.11871867470892884, 0.05696163804327523, 0.020401446930266773,
    0.004356100077492143, -0.00018173754535076225, -0.0004813481117346339, -0.00010700087904021732, 3.2732041462123324e-05,
    1.910055660073033e-05, -1.7491347094597552e-06, -2.8594618844362195e-06, 7.033535499696964e-08, 4.4443531810829024e-07,
    -8.700532115618968e-09, -7.371966765064146e-08, 4.067164857466284e-09, 1.2296372281488149e-08, -1.1306399379966429e-09,
    -1.7602351103294644e-09, 1.4090693898842907e-10, 1.5046263120619477e-10,
};
#endif

/* e^(x²/2)·Φ(-|x|) of the normal distribution: all of the tail but its fast part, which is the density's too */
INLINE real scaled_tail(real x) {
    real z = magnitude(x) * (real)0.70710678118654752, t = 1 / (1 + MILLS * z), u = 2 * t - 1;
    int last = sizeof mills / sizeof *mills - 1;
    real s = mills[last];
#pragma GCC unroll 32
    for (int i = last - 1; i >= 0; i--) s = s * u + mills[i];
    return s * t * (real)0.5;
}

/* e^(-x²/2), with x² in two parts, since what its rounding loses is multiplied by x²: the leading half of x's digits has an exact square */
INLINE real gaussian(real x) {
    word keep = ~(((word)1 << (DIGITS + 2) / 2) - 1);
    real a = magnitude(x), capped = a > 40 ? 40 : a, high = from_bits(to_bits(capped) & keep);
    real v = (real)0.5 * (capped - high) * (capped + high), small = 1 - v * (1 - v * (real)0.5 * (1 - v * (real)(1 / 3.0) * (1 - v * (real)0.25)));      /* e^-v, by Taylor */
    real e = real_exp(high * high * (real)-0.5) * small;
    return a == a ? e : a;
}

/* Φ(x) and φ(x) of the normal distribution */
INLINE real real_normal_cdf(real x) {
    real tail = scaled_tail(x) * gaussian(x), rest = 1 - tail;
    return x < 0 ? tail : rest;
}
/* erf x = x + x·p(x²) for |x| <= 1, p by Chebyshev; beyond, 1 - 2Φ(-√2|x|) with the sign of x */
#ifdef FLOAT
static const real erf_near[] = {0.12837917f, -0.37612638f, 0.11283782f, -0.02686543f, 0.0052210316f, -0.00084840803f, 0.00011265959f, -9.667045e-06f};
#else
static const real erf_near[] = {
    0.12837916709551256, -0.37612638903183754, 0.1128379167095512, -0.02686617064512984, 0.0052239776254232985, -0.000854832702193483,
    0.00012055332902888736, -1.4925647567519332e-05, 1.6462045441468418e-06, -1.6364642158167616e-07, 1.4792401209404813e-08,
    -1.216456005728345e-09, 8.709045129053106e-11, -4.230945824295338e-12,
};
#endif
INLINE real real_erf(real x) {
    real v = x * x, beyond = 1 - 2 * real_normal_cdf((real)-1.4142135623730951 * magnitude(x));
    int last = sizeof erf_near / sizeof *erf_near - 1;
    real s = erf_near[last];
#pragma GCC unroll 32
    for (int i = last - 1; i >= 0; i--) s = s * v + erf_near[i];
    return v <= 1 ? x + x * s : x < 0 ? -beyond : beyond;
}

INLINE real real_normal_pdf(real x) { return (real)0.3989422804014327 * gaussian(x); }

#endif

// A batch of the Lovasz loss, and the bits of the errors that its kernels exchange.
#pragma once

#include "batch.h"

// A set of elements, all pixels of a class in a sample or in the batch, has its own Lovasz extension.
struct LovaszBatch : Batch {
    bool pooled;  // true if a set has the pixels of all samples, false for a set per sample
    bool hinge;   // errors 1 - (2 g - 1) x, instead of |g - p|
    std::atomic<bool> soft{false};  // a target that counts is neither 0 nor 1

    // (samples, channels, pixels), contiguous: first the errors, with the sign bit set if g > 0, and later
    // the slopes of the losses of the sets with respect to the errors.
    float *errors;
    bool wants_slopes;
    double *results;         // (3, sets): the losses, and the sums of w g and of w
    const double *upstream;  // (sets,): the input of the backward pass

    int64_t set_samples() const { return pooled ? samples : 1; }
    int64_t set_size() const { return set_samples() * pixels; }
    int64_t sets() const { return (pooled ? 1 : samples) * channels; }
    int64_t set_of(int64_t sample, int64_t channel) const { return (pooled ? 0 : sample) * channels + channel; }
    float *errors_of(int64_t sample, int64_t channel) const { return errors + (sample * channels + channel) * pixels; }
};

constexpr uint32_t FOREGROUND = 0x80000000u, SIZE = 0x7fffffffu;
constexpr uint32_t NOT_COUNTED = 0xffffffffu;  // a NaN that no arithmetic gives
constexpr uint32_t NOT_A_NUMBER = 0x7fc00000u;

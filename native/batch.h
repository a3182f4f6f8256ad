// What a kernel reads and writes: a batch of pixels, and the sums or the gradient.
#pragma once

#include <atomic>
#include <cstdint>

// The types of elements, in the order of `TYPES` in segloss/confusion/native.py.
enum class Type : int { float32, bfloat16, float16, uint8, int8, int16, int32, int64, float64 };

// Pixels that go by together: a multiple of all vectors' lanes.
constexpr int BLOCK = 256;

// A tensor (samples, channels, pixels), with strides in elements; null where there is none.
struct Tensor {
    char *data;
    Type type;
    int64_t sample, channel, pixel;
};

// The sums of a cell of samples and channels, in the order of `SUMS` in segloss/confusion/native.py.
enum Sum { TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, ACTUAL, PIXEL_WEIGHT, ENTROPY, WEIGHT };
constexpr int SUMS = WEIGHT + 1;

// The sums on which a gradient depends come as SUMS does: the first three, then the entropy.
enum Slope { OF_HIT, OF_EXTRA, OF_MISSED, OF_ENTROPY };
constexpr int SLOPES = OF_ENTROPY + 1;

// Sums beside these, which follow them, as their slopes do: the squared error, the three of
// metric counts, one of each focal loss, and three of each map (of which the total has no slope).
struct Further {
    bool squared_error, metric;
    int64_t focals, maps;
    const float *gamma, *alpha;  // (focals, sides): of background and foreground, or of the channels
    const Tensor *map;

    int64_t metric_at() const { return squared_error; }
    int64_t focal_at() const { return metric_at() + 3 * metric; }
    int64_t map_at() const { return focal_at() + focals; }
    int64_t count() const { return map_at() + 3 * maps; }
};

struct Batch {
    int64_t samples, channels, pixels;
    Tensor prediction, target, weight;
    bool ignores;
    int64_t ignored;
    const float *class_weights;  // (channels,), or null
    const float *pos_weight;     // (channels,), or null
    float smoothing;
    Further further;

    // A task is a part of a sample (softmax) or of a cell (sigmoid); who is free takes the next.
    int64_t tasks, parts, part_pixels;
    std::atomic<int64_t> next_task{0};
    std::atomic<int64_t> next_worker{0};
    char *scratch;  // of each worker
    int64_t scratch_bytes;
    std::atomic<bool> wrong_label{false};

    double *partial;       // (tasks, sums, channels of a task): the forward pass writes,
    const double *slopes;  // (slopes, samples, channels): the backward pass reads,
    Tensor gradient;       // and writes

    int64_t sums() const { return SUMS + further.count(); }
};

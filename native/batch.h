// A batch of pixels, the plan of its sums, and the memory that its kernels share.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

// The types of elements. Python has the same numbers.
enum class Type : int { float32, bfloat16, float16, uint8, int8, int16, int32, int64, float64, boolean };
constexpr int TYPE_COUNT = 10;

// The number of pixels that a kernel handles together: a multiple of the lanes of every vector.
constexpr int BLOCK = 256;

// A tensor (samples, channels, pixels), with strides in elements.
struct Tensor {
    char *data;
    Type type;
    int64_t sample_stride, channel_stride, pixel_stride;
    bool given;  // false for None
};

// The sums over the pixels of a sample and channel. Python lists them in the same order. After them
// come one sum for each focal loss, and three sums for each map m: p m, (1 - p) m, and m. Only the sums
// before SQUARED_ERROR can be computed for groups of pixels.
enum Sum {
    TRUE_POSITIVE,
    FALSE_POSITIVE,
    FALSE_NEGATIVE,
    ACTUAL,
    PIXEL_WEIGHT,
    ENTROPY,
    WEIGHT,
    SQUARED_ERROR,
    SEMIMETRIC_TRUE_POSITIVE,
    SEMIMETRIC_FALSE_POSITIVE,
    SEMIMETRIC_FALSE_NEGATIVE,
    TRUE_NEGATIVE,
    SEMIMETRIC_TRUE_NEGATIVE,
    FIRST_FOCAL,
};

// The sums to compute. `rows` has the row of each sum, or -1 if it is not wanted.
struct Plan {
    int64_t row_count;
    std::vector<int32_t> rows;
    std::vector<float> gammas, alphas;  // (focal losses, classes), with background and foreground for sigmoid
    int64_t focal_count, map_count;

    // A kernel computes all sums of a group or none.
    bool region, true_negative, entropy, squared_error, semimetric, semimetric_true_negative, focal, maps;

    int64_t sum_count() const { return static_cast<int64_t>(rows.size()); }
    int64_t focal_sum(int64_t focal_index) const { return FIRST_FOCAL + focal_index; }
    int64_t map_sum(int64_t map_index) const { return FIRST_FOCAL + focal_count + 3 * map_index; }
    bool wants(int64_t sum) const { return rows[sum] >= 0; }
    bool wants_any(int64_t first, int64_t count) const {
        for (int64_t sum = first; sum < first + count; sum++)
            if (wants(sum)) return true;
        return false;
    }
    bool extra() const { return squared_error || semimetric || semimetric_true_negative || focal || maps; }
    bool reads_prediction() const { return region || true_negative || entropy || extra(); }

    void find_groups() {
        region = wants_any(TRUE_POSITIVE, 3);
        true_negative = wants(TRUE_NEGATIVE);
        entropy = wants(ENTROPY);
        squared_error = wants(SQUARED_ERROR);
        semimetric = wants_any(SEMIMETRIC_TRUE_POSITIVE, 3);
        semimetric_true_negative = wants(SEMIMETRIC_TRUE_NEGATIVE);
        focal = wants_any(FIRST_FOCAL, focal_count);
        maps = wants_any(map_sum(0), 3 * map_count);
    }
};

struct Batch {
    bool exclusive;  // true for softmax and a label map, false for sigmoid and independent channels
    bool label_map;  // true if the target holds labels: with sigmoid, the target of channel c is label == c
    int64_t samples, channels, pixels;
    Tensor prediction, target, weight;
    bool ignores;
    int64_t ignored;
    std::vector<float> class_weights, pos_weight;  // (channels,), or empty
    float smoothing;
    std::vector<Tensor> maps;
    Tensor groups;            // the group of each pixel and channel, if pixels are grouped
    int64_t group_count = 1;  // K
    Plan plan;

    // A task is a part of a sample (softmax) or of a sample's channel (sigmoid). Idle workers take
    // the next task.
    int64_t tasks, parts, part_pixels;
    std::atomic<int64_t> next_task{0};
    std::atomic<int64_t> next_worker{0};
    char *scratch;  // (workers, scratch_bytes)
    int64_t scratch_bytes;
    std::atomic<bool> wrong_label{false};

    double *partial;       // (tasks, sums, groups, channels of a task): the output of the forward pass
    const double *slopes;  // (rows, samples, groups, channels): the input of the backward pass, and of that for single pixels
    Tensor gradient;       // its output
    Tensor losses;         // (samples, 1 or channels, pixels): the output of the pass for single pixels

    int64_t cells() const { return samples * channels; }
    // The numbers of a task, (sums, groups, channels of a task).
    int64_t partial_size() const { return plan.sum_count() * group_count * (exclusive ? channels : 1); }
    double slope(int64_t sum, int64_t sample, int64_t channel, int64_t group = 0) const {
        const int64_t row = plan.rows[sum];
        return row < 0 ? 0 : slopes[((row * samples + sample) * group_count + group) * channels + channel];
    }
    // The slope in w p of pixels that belong to the channel.
    double foreground_slope(int64_t sample, int64_t channel, int64_t group = 0) const {
        return slope(TRUE_POSITIVE, sample, channel, group) - slope(FALSE_NEGATIVE, sample, channel, group);
    }
    // The slope in w p of pixels that do not belong to the channel: true negatives are w (1 - p) there.
    double background_slope(int64_t sample, int64_t channel, int64_t group = 0) const {
        return slope(FALSE_POSITIVE, sample, channel, group) - slope(TRUE_NEGATIVE, sample, channel, group);
    }
};

// The pass over a batch's pixels, forward and backward, for one instruction set.
//
// instruction_sets.h includes this file once for each set. No sum is a difference of nearly equal
// numbers. One slope is: with softmax, the slope of a wrong class with p near 1 has an error of 1e-6
// of the largest slope. Kernels handle pixels in blocks. Lanes add up at most one block in float32;
// sums of blocks are in float64. The parts of a batch do not depend on the number of threads, so the
// results are the same to the last bit.

namespace ISA {

#include "vectors.h"

#include "elements.h"

#include "groups.h"

#include "focal.h"

// Calls `act` with two constants of a type std::bool_constant.
template <class Function> INLINE void with_constants(bool first, bool second, Function act) {
    if (first && second)
        act(std::true_type{}, std::true_type{});
    else if (first)
        act(std::true_type{}, std::false_type{});
    else if (second)
        act(std::false_type{}, std::true_type{});
    else
        act(std::false_type{}, std::false_type{});
}

#include "sigmoid.h"

#include "softmax.h"

#include "lovasz.h"

// Returns the size of the memory that a worker needs.
int64_t scratch_bytes(const Batch &batch) {
    const bool grouped = batch.groups.given;
    const int64_t sum_count = grouped ? batch.group_count * GROUP_SUMS : batch.plan.sum_count();
    if (!batch.exclusive) return sizeof(SigmoidScratch) + sum_count * sizeof(Doubles);
    const int64_t blocks = batch.plan.squared_error || batch.plan.maps || grouped ? 2 : 1;
    const int64_t class_sums = grouped ? 2 * batch.group_count : 1;
    const int64_t class_bytes = blocks * BLOCK * sizeof(float) + class_sums * sizeof(Doubles) + 3 * sizeof(float);
    return sizeof(SoftmaxScratch) + batch.channels * class_bytes;
}

}  // namespace ISA

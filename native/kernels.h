// The pass over a batch's pixels, forward and backward, for one instruction set.
//
// instruction_sets.h includes this file once for each set. No sum is a difference of nearly equal
// numbers, and no slope but one: that of a wrong class with p near 1, which softmax takes to 1e-6 of
// the largest. Pixels are handled in blocks: lanes add up at most a block in float32, and
// float64 takes over. The parts of a batch are fixed, so the number of threads changes no bit.

namespace ISA {

#include "vectors.h"

#include "elements.h"

#include "focal.h"

// Calls `act` with two constants of the type std::bool_constant.
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

// The memory that a worker needs.
int64_t scratch_bytes(const Batch &batch) {
    if (!batch.exclusive) return sizeof(SigmoidScratch) + batch.plan.sum_count() * sizeof(Doubles);
    const int64_t rows = batch.plan.squared_error || batch.plan.maps ? 2 : 1;
    const int64_t of_class = rows * BLOCK * sizeof(float) + sizeof(Doubles) + 3 * sizeof(float);
    return sizeof(SoftmaxScratch) + batch.channels * of_class;
}

}  // namespace ISA

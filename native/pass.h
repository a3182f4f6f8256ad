// The passes over a batch's pixels: the instruction sets, threads, tasks, and memory.
//
// Nothing here depends on Python or PyTorch. Threads come from the OpenMP library that PyTorch has
// loaded, if there is one.
#pragma once

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#endif

#include "batch.h"
#include "lovasz_batch.h"

struct BFloat16 {
    uint16_t bits;
};
struct Half {  // not _Float16, which some compilers lack, and convert slowly
    uint16_t bits;
};
struct Boolean {  // true if the byte is not 0, as in PyTorch
    uint8_t byte;
};
#define EACH_REAL(DO) DO(float32, float) DO(bfloat16, BFloat16) DO(float16, Half)
#define EACH_TYPE(DO) \
    EACH_REAL(DO) DO(uint8, uint8_t) DO(int8, int8_t) DO(int16, int16_t) DO(int32, int32_t) DO(int64, int64_t) \
    DO(float64, double) DO(boolean, Boolean)

#define EACH_INTEGER(DO) \
    DO(uint8, uint8_t) DO(int8, int8_t) DO(int16, int16_t) DO(int32, int32_t) DO(int64, int64_t)

#define SET_CODE "kernels.h"
#include "instruction_sets.h"

using Kernel = void (*)(Batch &, int64_t, char *);

struct InstructionSet {
    const char *name;
    Kernel sigmoid_forward, sigmoid_backward, sigmoid_pixel_losses;
    Kernel softmax_forward, softmax_backward, softmax_pixel_losses;
    int64_t (*scratch_bytes)(const Batch &);
};

#define SET(isa) \
    {#isa, isa::sigmoid_forward, isa::sigmoid_backward, isa::sigmoid_pixel_losses, \
     isa::softmax_forward, isa::softmax_backward, isa::softmax_pixel_losses, isa::scratch_bytes}

// The instruction sets, from the best to the one that every machine has.
static const InstructionSet SETS[] = {
#if defined(__x86_64__)
    SET(avx512),
    SET(avx2),
#endif
    SET(baseline),
};

// Another thread may change it at any time. A call reads it once, and uses that set to its end.
static std::atomic<const InstructionSet *> current_set{nullptr};

// ---- threads ----

// The argument of the workers. All of them round, and treat denormal numbers, as the calling thread
// does (torch.set_flush_denormal changes one thread), so a result does not depend on the worker.
struct Job {
    Batch &batch;
    Kernel kernel;
    std::fenv_t environment;
};

static void work(void *argument) {
    const Job &job = *static_cast<Job *>(argument);
    Batch &batch = job.batch;
    char *scratch = batch.scratch + batch.next_worker++ * batch.scratch_bytes;
    std::fenv_t previous;
    std::fegetenv(&previous);
    std::fesetenv(&job.environment);
    for (int64_t task = batch.next_task++; task < batch.tasks; task = batch.next_task++)
        job.kernel(batch, task, scratch);
    std::fesetenv(&previous);
}

using Parallel = void (*)(void (*)(void *), void *, unsigned, unsigned);

// Returns the function that runs work on PyTorch's threads, or null. Those threads are awake while
// PyTorch computes, and other threads would compete with them.
static Parallel openmp() {
#ifdef _WIN32
    return nullptr;
#else
    return reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#endif
}

static void run_on(int64_t workers, Job &job) {
    static const Parallel parallel = openmp();
    if (workers > 1 && parallel) return parallel(work, &job, static_cast<unsigned>(workers), 0);
    std::vector<std::thread> threads;
    try {
        for (int64_t i = 1; i < workers; i++) threads.emplace_back(work, &job);
    } catch (const std::exception &) {
        // No more threads can start: the threads that have started do the work.
    }
    work(&job);
    for (std::thread &thread : threads) thread.join();
}

// ---- tasks ----

constexpr int64_t TASK_ELEMENTS = 1 << 18;
constexpr int64_t SINGLE_THREAD_ELEMENTS = 1 << 15;  // with fewer, a second thread costs more than it saves

static void split(Batch &batch) {
    const int64_t most = TASK_ELEMENTS / (batch.exclusive ? batch.channels : 1) / BLOCK * BLOCK;
    batch.part_pixels = most > BLOCK ? most : BLOCK;
    batch.parts = (batch.pixels + batch.part_pixels - 1) / batch.part_pixels;
    batch.tasks = batch.parts * batch.samples * (batch.exclusive ? 1 : batch.channels);
}

// Adds up the partial sums of each sample (softmax) or channel (sigmoid), in the order of the parts.
static void join(const Batch &batch, double *out) {
    const int64_t width = batch.exclusive ? batch.channels : 1, sum_count = batch.plan.sum_count();
    const int64_t groups = batch.group_count, size = batch.partial_size();
    for (int64_t k = 0; k < sum_count; k++) {
        if (!batch.plan.wants(k)) continue;
        double *row = out + batch.plan.rows[k] * batch.cells() * groups;
        const bool is_weighted = !batch.exclusive && (k == ENTROPY || k == WEIGHT) && !batch.class_weights.empty();
        for (int64_t i = 0; i < batch.cells(); i++) {
            const int64_t sample_or_cell = i / width, c = i % width;
            const int64_t sample = i / batch.channels, channel = i % batch.channels;
            for (int64_t group = 0; group < groups; group++) {
                double sum = 0;
                for (int64_t part = 0; part < batch.parts; part++)
                    sum += batch.partial[(sample_or_cell * batch.parts + part) * size + (k * groups + group) * width + c];
                row[(sample * groups + group) * batch.channels + channel] =
                    is_weighted ? sum * batch.class_weights[channel] : sum;
            }
        }
    }
}

// ---- a pass ----

// One call: the batch, and the memory that the caller does not provide.
struct Pass {
    Batch batch{};
    int threads = 1;
    const InstructionSet *set = current_set;
    std::unique_ptr<char[]> scratch;
    std::vector<double> partial;

    int64_t workers() const {
        const bool is_small = batch.cells() * batch.pixels < SINGLE_THREAD_ELEMENTS;
        const int64_t most = is_small || threads < 1 ? 1 : threads;
        return most < batch.tasks ? most : batch.tasks;
    }

    void allocate(bool is_forward) {
        split(batch);
        constexpr int64_t ALIGNMENT = 64;
        batch.scratch_bytes = (set->scratch_bytes(batch) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        scratch.reset(new char[workers() * batch.scratch_bytes + ALIGNMENT]);
        batch.scratch = scratch.get() + (ALIGNMENT - reinterpret_cast<uintptr_t>(scratch.get()) % ALIGNMENT);
        if (!is_forward) return;
        partial.resize(batch.tasks * batch.partial_size());
        batch.partial = partial.data();
    }

    // Writes the sums, (rows, samples, groups, channels), after `allocate(true)`.
    void forward(double *sums) {
        run(batch.exclusive ? set->softmax_forward : set->sigmoid_forward);
        join(batch, sums);
    }

    // Writes the gradient, after `allocate(false)`.
    void backward(const double *slopes, const Tensor &gradient) {
        batch.slopes = slopes;
        batch.gradient = gradient;
        run(batch.exclusive ? set->softmax_backward : set->sigmoid_backward);
    }

    // Writes the losses of single pixels, of sums of cross-entropy and focal losses, after `allocate(false)`.
    void pixel_losses(const double *slopes, const Tensor &losses) {
        batch.slopes = slopes;
        batch.losses = losses;
        run(batch.exclusive ? set->softmax_pixel_losses : set->sigmoid_pixel_losses);
    }

  private:
    void run(Kernel kernel) {
        Job job{batch, kernel, {}};
        std::fegetenv(&job.environment);
        run_on(workers(), job);
    }
};

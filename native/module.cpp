// The pass as a module of Python, for processors: which instruction set, which threads, whose memory.
//
// Nothing here depends on PyTorch's headers: tensors come as addresses, types and strides, and
// threads are those of the OpenMP that PyTorch has loaded, where there is one.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>
#include <type_traits>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#endif
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "batch.h"
#include "overlaps.h"

#define INLINE static inline __attribute__((always_inline))

struct Brain {  // bfloat16
    uint16_t bits;
};
#ifdef __FLT16_MAX__
#define HAS_HALF
typedef _Float16 Half;
#define EACH_REAL(DO) DO(float32, float) DO(bfloat16, Brain) DO(float16, Half)
#else
#define EACH_REAL(DO) DO(float32, float) DO(bfloat16, Brain)
#endif
#define EACH_TYPE(DO) \
    EACH_REAL(DO) DO(uint8, uint8_t) DO(int8, int8_t) DO(int16, int16_t) DO(int32, int32_t) DO(int64, int64_t) \
    DO(float64, double)

// The kernels, compiled for each instruction set that a machine may have.
#if defined(__x86_64__)
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define FOR(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_FOR PRAGMA(clang attribute pop)
#else
#define FOR(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_FOR PRAGMA(GCC pop_options)
#endif

FOR("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#define ISA avx512
#define BYTES 64
#define FUSED true
#include "kernels.h"
#undef ISA
#undef BYTES
#undef FUSED
END_FOR

FOR("avx2,fma,f16c")
#define ISA avx2
#define BYTES 32
#define FUSED true
#include "kernels.h"
#undef ISA
#undef BYTES
#undef FUSED
END_FOR
#endif

#ifdef __FP_FAST_FMAF
#define BASELINE_FUSED true
#else
#define BASELINE_FUSED false
#endif
#define ISA baseline
#define BYTES 16
#define FUSED BASELINE_FUSED
#include "kernels.h"

using Kernel = void (*)(Batch &, int64_t, char *);

struct InstructionSet {
    const char *name;
    Kernel sigmoid_forward, sigmoid_backward, softmax_forward, softmax_backward;
    int64_t (*scratch_bytes)(const Batch &, bool);
};

#define SET(isa) \
    {#isa, isa::sigmoid_forward, isa::sigmoid_backward, isa::softmax_forward, isa::softmax_backward, isa::scratch_bytes}

// From the best to what every machine has.
static const InstructionSet SETS[] = {
#if defined(__x86_64__)
    SET(avx512),
    SET(avx2),
#endif
    SET(baseline),
};

static bool runs_here(const char *name) {
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(name, "avx2")) return avx2;
    if (!strcmp(name, "avx512"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return true;
}

static const InstructionSet *used = nullptr;

// ---- threads ----

struct Team {
    Batch &batch;
    Kernel kernel;
};

static void work(void *argument) {
    const Team &team = *static_cast<Team *>(argument);
    Batch &batch = team.batch;
    char *scratch = batch.scratch + batch.next_worker++ * batch.scratch_bytes;
    for (int64_t task = batch.next_task++; task < batch.tasks; task = batch.next_task++)
        team.kernel(batch, task, scratch);
}

using Parallel = void (*)(void (*)(void *), void *, unsigned, unsigned);

// PyTorch's own threads, which are awake while it computes: others would compete with them.
static Parallel openmp() {
#ifdef _WIN32
    return nullptr;
#else
    return reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#endif
}

static void run_on(int64_t workers, Team &team) {
    static const Parallel parallel = openmp();
    if (workers > 1 && parallel) return parallel(work, &team, static_cast<unsigned>(workers), 0);
    std::vector<std::thread> others;
    try {
        for (int64_t i = 1; i < workers; i++) others.emplace_back(work, &team);
    } catch (const std::exception &) {
        // No more threads can be had: those that there are do the work.
    }
    work(&team);
    for (std::thread &other : others) other.join();
}

// ---- tasks ----

constexpr int64_t TASK = 1 << 18;   // elements of a task
constexpr int64_t ALONE = 1 << 15;  // elements below which a second thread costs more than it does

static void split(Batch &batch, bool softmax) {
    const int64_t most = TASK / (softmax ? batch.channels : 1) / BLOCK * BLOCK;
    batch.part_pixels = most > BLOCK ? most : BLOCK;
    batch.parts = (batch.pixels + batch.part_pixels - 1) / batch.part_pixels;
    batch.tasks = batch.parts * batch.samples * (softmax ? 1 : batch.channels);
}

// Adds up the parts of each sample or cell, in order, whoever has computed them.
static void join(const Batch &batch, bool softmax, double *out) {
    const int64_t cells = batch.samples * batch.channels, width = softmax ? batch.channels : 1;
    for (int64_t whole = 0; whole < cells / width; whole++)
        for (int64_t k = 0; k < batch.sums(); k++)
            for (int64_t c = 0; c < width; c++) {
                double sum = 0;
                for (int64_t part = 0; part < batch.parts; part++)
                    sum += batch.partial[((whole * batch.parts + part) * batch.sums() + k) * width + c];
                const bool of_channel = !softmax && (k == ENTROPY || k == WEIGHT) && batch.class_weights;
                out[k * cells + whole * width + c] =
                    of_channel ? sum * batch.class_weights[whole % batch.channels] : sum;
            }
}

// ---- Python ----

static int to_tensor(PyObject *object, void *address) {
    Tensor &tensor = *static_cast<Tensor *>(address);
    if (object == Py_None) {
        tensor = Tensor{};
        return 1;
    }
    unsigned long long data;
    int type;
    long long sample, channel, pixel;
    if (!PyArg_ParseTuple(object, "KiLLL", &data, &type, &sample, &channel, &pixel)) return 0;
    tensor = {reinterpret_cast<char *>(data), static_cast<Type>(type), sample, channel, pixel};
    return 1;
}

static int to_address(PyObject *object, void *address) {
    *static_cast<void **>(address) = object == Py_None ? nullptr : PyLong_AsVoidPtr(object);
    return !PyErr_Occurred();
}

static int to_ignored(PyObject *object, void *address) {
    Batch &batch = *static_cast<Batch *>(address);
    batch.ignores = object != Py_None;
    batch.ignored = batch.ignores ? PyLong_AsLongLong(object) : 0;
    return !PyErr_Occurred();
}

// A call of either function: the batch, and all memory that it needs beside the caller's.
struct Call {
    Batch batch{};
    int softmax = 0, threads = 1;
    void *sums = nullptr;  // (sums, samples, channels), or the slopes of those that have some
    std::vector<char> scratch;
    std::vector<double> partial;
    std::vector<Tensor> maps;

    bool parse(PyObject *args, bool backward) {
        const char *format = backward ? "p(LLL)O&O&O&O&O&O&fiO&O&O&" : "p(LLL)O&O&O&O&O&O&fiO&O&";
        return PyArg_ParseTuple(args, format, &softmax, &batch.samples, &batch.channels, &batch.pixels, to_tensor,
                                &batch.prediction, to_tensor, &batch.target, to_tensor, &batch.weight, to_ignored,
                                &batch, to_address, &batch.class_weights, to_address, &batch.pos_weight,
                                &batch.smoothing, &threads, to_further, this, to_address, &sums, to_tensor,
                                &batch.gradient);
    }

    // None, or (squared error?, metric?, gammas, alphas, maps), the gammas and alphas as bytes.
    static int to_further(PyObject *object, void *address) {
        Call &call = *static_cast<Call *>(address);
        Further &further = call.batch.further;
        if (object == Py_None) return 1;
        int squared_error, metric;
        const char *gamma, *alpha;
        Py_ssize_t gamma_bytes, alpha_bytes;
        PyObject *maps;
        if (!PyArg_ParseTuple(object, "ppy#y#O", &squared_error, &metric, &gamma, &gamma_bytes, &alpha, &alpha_bytes,
                              &maps))
            return 0;
        call.maps.resize(PyTuple_Size(maps));
        for (size_t i = 0; i < call.maps.size(); i++)
            if (!to_tensor(PyTuple_GetItem(maps, i), &call.maps[i])) return 0;
        const int64_t sides = call.softmax ? call.batch.channels : 2;
        further = {squared_error != 0, metric != 0, gamma_bytes / static_cast<int64_t>(sizeof(float)) / sides,
                   static_cast<int64_t>(call.maps.size()), reinterpret_cast<const float *>(gamma),
                   reinterpret_cast<const float *>(alpha), call.maps.data()};
        return 1;
    }

    int64_t workers() const {
        const bool alone = batch.samples * batch.channels * batch.pixels < ALONE;
        const int64_t most = alone || threads < 1 ? 1 : threads;
        return most < batch.tasks ? most : batch.tasks;
    }

    void allocate(bool backward) {
        split(batch, softmax);
        batch.scratch_bytes = (used->scratch_bytes(batch, softmax) + 63) / 64 * 64;
        scratch.resize(workers() * batch.scratch_bytes + 64);
        batch.scratch = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
        if (backward) return;
        partial.resize(batch.tasks * batch.sums() * (softmax ? batch.channels : 1));
        batch.partial = partial.data();
    }

    void run(Kernel kernel) {
        Team team{batch, kernel};
        run_on(workers(), team);
    }
};

static PyObject *forward(PyObject *, PyObject *args) {
    Call call;
    if (!call.parse(args, false)) return nullptr;
    try {
        call.allocate(false);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS;
    call.run(call.softmax ? used->softmax_forward : used->sigmoid_forward);
    join(call.batch, call.softmax, static_cast<double *>(call.sums));
    Py_END_ALLOW_THREADS;
    return PyBool_FromLong(!call.batch.wrong_label);
}

static PyObject *backward(PyObject *, PyObject *args) {
    Call call;
    if (!call.parse(args, true)) return nullptr;
    try {
        call.allocate(true);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
    call.batch.slopes = static_cast<const double *>(call.sums);
    Py_BEGIN_ALLOW_THREADS;
    call.run(call.softmax ? used->softmax_backward : used->sigmoid_backward);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *evaluate(PyObject *, PyObject *args) {
    int exclusive, pool, skip_absent;
    long long samples, channels;
    unsigned long long sums, out;
    const char *overlaps, *classes;
    Py_ssize_t overlap_bytes, class_bytes;
    double entropy;
    if (!PyArg_ParseTuple(args, "KLLpdy#ipz#K", &sums, &samples, &channels, &exclusive, &entropy, &overlaps,
                          &overlap_bytes, &pool, &skip_absent, &classes, &class_bytes, &out))
        return nullptr;
    const Terms terms{reinterpret_cast<const Overlap *>(overlaps), overlap_bytes / static_cast<Py_ssize_t>(sizeof(Overlap)),
                      entropy, static_cast<Pool>(pool), skip_absent != 0, reinterpret_cast<const int64_t *>(classes),
                      classes ? class_bytes / 8 : 0};
    double *loss = reinterpret_cast<double *>(out), *slopes = loss + 1, *means = slopes + 4 * samples * channels;
    const Outcome outcome{loss, means, means + 1 + terms.count, slopes};
    try {
        evaluate(reinterpret_cast<const double *>(sums), samples, channels, exclusive, terms, outcome);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static PyObject *instruction_sets(PyObject *, PyObject *) {
    PyObject *names = PyList_New(0);
    for (const InstructionSet &set : SETS) {
        PyObject *name = runs_here(set.name) ? PyUnicode_FromString(set.name) : nullptr;
        if (names && name && PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *use(PyObject *, PyObject *args) {
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
    for (const InstructionSet &set : SETS)
        if (!strcmp(set.name, name) && runs_here(set.name)) {
            used = &set;
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "There is no instruction set %s here.", name);
}

static PyMethodDef METHODS[] = {
    {"forward", forward, METH_VARARGS, "Writes the sums; whether all labels are in range."},
    {"backward", backward, METH_VARARGS, "Writes the gradient."},
    {"evaluate", evaluate, METH_VARARGS, "Writes a loss of the sums, its slopes, its terms, and these by class."},
    {"instruction_sets", instruction_sets, METH_NOARGS, "The names of those that run here, from the best."},
    {"use", use, METH_VARARGS, "Makes the kernels those of an instruction set."},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_native", "The pass in machine code.", -1, METHODS,
                             nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__native() {
    for (const InstructionSet &set : SETS)
        if (!used && runs_here(set.name)) used = &set;
    PyObject *module = PyModule_Create(&MODULE);
#ifdef HAS_HALF
    const int has_half = 1;
#else
    const int has_half = 0;
#endif
    if (module && PyModule_AddIntConstant(module, "HAS_HALF", has_half) < 0) Py_CLEAR(module);
    return module;
}

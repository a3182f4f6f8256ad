// The CPU kernels as a Python module: arguments, and the choice of an instruction set.
//
// Nothing here depends on PyTorch's headers. Tensors come as addresses, types and strides. The module
// checks everything that it can check before a kernel reads memory.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>
#include <exception>
#include <vector>

#include "analytic_terms.h"
#include "pass.h"

// ---- arguments ----

// Sets a ValueError, and returns false, for `return refuse(...)`.
template <class... Values> static bool refuse(const char *format, Values... values) {
    PyErr_Format(PyExc_ValueError, format, values...);
    return false;
}

static bool is_tuple(PyObject *object, const char *name) {
    if (PyTuple_Check(object)) return true;
    PyErr_Format(PyExc_TypeError, "Expected a tuple for the %s.", name);
    return false;
}

static int to_address(PyObject *object, void *address) {
    *static_cast<void **>(address) = object == Py_None ? nullptr : PyLong_AsVoidPtr(object);
    return !PyErr_Occurred();
}

static int to_tensor(PyObject *object, void *address) {
    Tensor &tensor = *static_cast<Tensor *>(address);
    tensor = Tensor{};
    if (object == Py_None) return 1;
    void *data;
    int type;
    long long sample, channel, pixel;
    if (!is_tuple(object, "tensor") || !PyArg_ParseTuple(object, "O&iLLL", to_address, &data, &type, &sample, &channel, &pixel))
        return 0;
    if (type < 0 || type >= TYPE_COUNT) return refuse("There is no element type with the number %d.", type);
    tensor = {static_cast<char *>(data), static_cast<Type>(type), sample, channel, pixel, true};
    return 1;
}

static int to_ignored(PyObject *object, void *address) {
    Batch &batch = *static_cast<Batch *>(address);
    batch.ignores = object != Py_None;
    batch.ignored = batch.ignores ? PyLong_AsLongLong(object) : 0;
    return !PyErr_Occurred();
}

template <class Number> struct Numbers {
    const char *bytes = nullptr;
    Py_ssize_t size = 0;

    bool is_whole() const { return size % static_cast<Py_ssize_t>(sizeof(Number)) == 0; }
    std::vector<Number> copy() const {  // the bytes need not be aligned
        std::vector<Number> numbers(size / sizeof(Number));
        if (size > 0) memcpy(numbers.data(), bytes, size);
        return numbers;
    }
};

// Checks that an array of float64 can be read or written.
static bool check_doubles(const void *address, int64_t count, const char *name) {
    if (count > 0 && !address) return refuse("The address of the %s is 0, but there are elements.", name);
    if (reinterpret_cast<uintptr_t>(address) % alignof(double)) return refuse("The memory of the %s is not aligned to 8 bytes.", name);
    return true;
}

static bool check_tensor(const Tensor &tensor, int64_t elements, const char *name) {
    if (elements == 0) return true;
    if (!tensor.given) return refuse("The %s is missing.", name);
    if (!tensor.data) return refuse("The address of the %s is 0, but there are elements.", name);
    return true;
}

static bool check_real(const Tensor &tensor, const char *name) {
    if (!tensor.given || tensor.type <= Type::float16) return true;
    return refuse("The %s is not float32, bfloat16 or float16.", name);
}

static bool check_integers(const Tensor &tensor, const char *name) {
    if (tensor.type >= Type::uint8 && tensor.type <= Type::int64) return true;
    return refuse("The %s are not integers.", name);
}

static bool check_shape(int64_t first, int64_t second, int64_t third) {
    const int64_t limit = int64_t{1} << 56;  // of elements, whose bytes an int64 can count
    if (first < 0 || second < 0 || third < 0) return refuse("A size is negative.");
    const int64_t inner = second == 0 ? 0 : third > limit / second ? limit + 1 : second * third;
    if (inner > limit || (inner > 0 && first > limit / inner)) return refuse("The sizes are too large.");
    return true;
}

static bool to_batch(PyObject *object, Batch &batch, int &threads) {
    int exclusive, label_map;
    long long samples, channels, pixels;
    Numbers<float> class_weights, pos_weight;
    PyObject *maps;
    long long group_count;
    if (!is_tuple(object, "batch") ||
        !PyArg_ParseTuple(object, "pp(LLL)O&O&O&O&z#z#fiOO&L", &exclusive, &label_map, &samples, &channels, &pixels,
                          to_tensor, &batch.prediction, to_tensor, &batch.target, to_tensor, &batch.weight, to_ignored, &batch,
                          &class_weights.bytes, &class_weights.size, &pos_weight.bytes, &pos_weight.size,
                          &batch.smoothing, &threads, &maps, to_tensor, &batch.groups, &group_count))
        return false;
    batch.exclusive = exclusive != 0, batch.label_map = label_map != 0;
    batch.samples = samples, batch.channels = channels, batch.pixels = pixels;
    if (!check_shape(samples, channels, pixels)) return false;
    if (channels < 1 || channels > INT32_MAX) return refuse("Expected 1 channel or more, got %lld.", channels);
    const Py_ssize_t size = static_cast<Py_ssize_t>(channels * sizeof(float));
    if (class_weights.bytes && class_weights.size != size)
        return refuse("Expected %zd bytes of class weights, got %zd.", size, class_weights.size);
    if (pos_weight.bytes && pos_weight.size != size)
        return refuse("Expected %zd bytes of pos_weight, got %zd.", size, pos_weight.size);
    batch.class_weights = class_weights.copy();
    batch.pos_weight = pos_weight.copy();
    const int64_t elements = samples * channels * pixels;
    if (!check_tensor(batch.prediction, elements, "prediction") || !check_real(batch.prediction, "prediction") ||
        !check_tensor(batch.target, elements, "target"))
        return false;
    if (batch.weight.given && !check_tensor(batch.weight, elements, "weight")) return false;
    if (group_count < 1 || group_count > INT32_MAX || (group_count > 1 && !batch.groups.given))
        return refuse("Expected 1 group or more, with the groups of pixels, got %lld.", group_count);
    batch.group_count = group_count;
    if (!check_shape(samples, channels, group_count)) return false;
    if (batch.groups.given && !(check_tensor(batch.groups, elements, "groups") && check_integers(batch.groups, "groups")))
        return false;
    if (!is_tuple(maps, "maps")) return false;
    batch.maps.resize(PyTuple_Size(maps));
    for (size_t i = 0; i < batch.maps.size(); i++)
        if (!to_tensor(PyTuple_GetItem(maps, i), &batch.maps[i]) || !check_tensor(batch.maps[i], elements, "map"))
            return false;
    return true;
}

static bool to_plan(PyObject *object, Batch &batch) {
    Plan &plan = batch.plan;
    long long row_count;
    Numbers<int32_t> rows;
    Numbers<float> gammas, alphas;
    if (!is_tuple(object, "plan") ||
        !PyArg_ParseTuple(object, "Ly#y#y#", &row_count, &rows.bytes, &rows.size, &gammas.bytes, &gammas.size,
                          &alphas.bytes, &alphas.size))
        return false;
    if (!check_shape(row_count, batch.samples * batch.group_count, batch.channels)) return false;
    if (!rows.is_whole() || !gammas.is_whole()) return refuse("The plan's rows, gammas and alphas are 4 bytes each.");
    if (gammas.size != alphas.size)
        return refuse("Expected as many alphas as gammas, got %zd and %zd bytes.", alphas.size, gammas.size);
    plan.row_count = row_count;
    plan.rows = rows.copy();
    plan.gammas = gammas.copy();
    plan.alphas = alphas.copy();
    const int64_t classes = batch.exclusive ? batch.channels : 2;
    const int64_t gamma_count = static_cast<int64_t>(plan.gammas.size());
    if (gamma_count % classes)
        return refuse("Expected %lld gammas for each focal loss, got %lld in all.", static_cast<long long>(classes),
                      static_cast<long long>(gamma_count));
    plan.focal_count = gamma_count / classes;
    plan.map_count = static_cast<int64_t>(batch.maps.size());
    const int64_t expected = plan.map_sum(plan.map_count);
    if (plan.sum_count() != expected)
        return refuse("Expected rows for %lld sums, got %lld.", static_cast<long long>(expected),
                      static_cast<long long>(plan.sum_count()));
    for (const int32_t row : plan.rows)
        if (row < -1 || row >= row_count) return refuse("Expected rows from -1 to %lld, got %d.", row_count - 1, int{row});
    plan.find_groups();
    if (batch.groups.given && (plan.extra() || plan.true_negative))
        return refuse("The sums of groups are those of regions, counts and cross-entropy.");
    if (batch.exclusive && plan.semimetric)
        return refuse("Semimetric sums are for independent channels, not for classes that exclude each other.");
    return true;
}

// ---- the passes over pixels ----

static bool to_pass(PyObject *batch, PyObject *plan, Pass &pass) {
    return to_batch(batch, pass.batch, pass.threads) && to_plan(plan, pass.batch);
}

static PyObject *sums(PyObject *, PyObject *args) {
    PyObject *batch, *plan;
    void *out;
    if (!PyArg_ParseTuple(args, "OOO&", &batch, &plan, to_address, &out)) return nullptr;
    try {
        Pass pass;
        if (!to_pass(batch, plan, pass)) return nullptr;
        const int64_t numbers = pass.batch.plan.row_count * pass.batch.cells() * pass.batch.group_count;
        if (!check_doubles(out, numbers, "sums")) return nullptr;
        pass.allocate(true);
        Py_BEGIN_ALLOW_THREADS;
        pass.forward(static_cast<double *>(out));
        Py_END_ALLOW_THREADS;
        return PyBool_FromLong(!pass.batch.wrong_label);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

static PyObject *gradient(PyObject *, PyObject *args) {
    PyObject *batch, *plan;
    void *slopes;
    Tensor gradient;
    if (!PyArg_ParseTuple(args, "OOO&O&", &batch, &plan, to_address, &slopes, to_tensor, &gradient)) return nullptr;
    try {
        Pass pass;
        if (!to_pass(batch, plan, pass)) return nullptr;
        const int64_t cells = pass.batch.cells();
        if (!check_doubles(slopes, pass.batch.plan.row_count * cells * pass.batch.group_count, "slopes") ||
            !check_tensor(gradient, cells * pass.batch.pixels, "gradient") || !check_real(gradient, "gradient"))
            return nullptr;
        pass.allocate(false);
        Py_BEGIN_ALLOW_THREADS;
        pass.backward(static_cast<const double *>(slopes), gradient);
        Py_END_ALLOW_THREADS;
        Py_RETURN_NONE;
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

static PyObject *pixel_losses(PyObject *, PyObject *args) {
    PyObject *batch, *plan;
    void *slopes;
    Tensor losses;
    if (!PyArg_ParseTuple(args, "OOO&O&", &batch, &plan, to_address, &slopes, to_tensor, &losses)) return nullptr;
    try {
        Pass pass;
        if (!to_pass(batch, plan, pass)) return nullptr;
        const int64_t cells = pass.batch.cells();
        if (!check_doubles(slopes, pass.batch.plan.row_count * cells, "slopes") ||
            !check_tensor(losses, cells * pass.batch.pixels, "losses") || !check_real(losses, "losses"))
            return nullptr;
        pass.allocate(false);
        Py_BEGIN_ALLOW_THREADS;
        pass.pixel_losses(static_cast<const double *>(slopes), losses);
        Py_END_ALLOW_THREADS;
        return PyBool_FromLong(!pass.batch.wrong_label);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

// ---- the Lovasz loss ----

#include "lovasz_module.h"

// ---- losses of the sums ----

// An analytic term as Python describes it. `class_weights` is the index of a set of weights, or -1.
struct TermNumbers {
    double kind, loss, coefficient, rows[3], actual_row, pixel_weight_row, tp_weight, fp_weight, fn_weight, smooth,
        exponent, pool, skip_absent, class_weights, components;
};
static_assert(sizeof(TermNumbers) == 17 * sizeof(double), "a term has 17 numbers");

// Converts a whole number from `least` to `most`.
static bool to_index(double number, int64_t least, int64_t most, const char *name, int64_t &index) {
    if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number))
        return refuse("Expected a whole number from %lld to %lld as the %s of a term.", static_cast<long long>(least),
                      static_cast<long long>(most), name);
    index = static_cast<int64_t>(number);
    return true;
}

static bool to_term(const TermNumbers &numbers, int64_t row_count, int64_t loss_count,
                    const std::vector<double> &class_weights, int64_t channels, AnalyticTerm &term) {
    int64_t kind, pool, skip_absent, weights, components;
    const int64_t last_row = row_count - 1, set_count = static_cast<int64_t>(class_weights.size()) / channels;
    if (!to_index(numbers.kind, 0, 1, "kind", kind) || !to_index(numbers.loss, 0, loss_count - 1, "loss", term.loss) ||
        !to_index(numbers.pool, 0, 2, "pool", pool) || !to_index(numbers.skip_absent, 0, 1, "skip_absent", skip_absent) ||
        !to_index(numbers.class_weights, -1, set_count - 1, "class weights", weights) ||
        !to_index(numbers.components, 0, 1, "components", components))
        return false;
    if (components && pool != static_cast<int64_t>(Pool::sample)) return refuse("Components are cells within samples.");
    term.kind = static_cast<TermKind>(kind);
    const bool is_ratio = term.kind == TermKind::ratio;
    for (int k = 0; k < (is_ratio ? 3 : 2); k++)
        if (!to_index(numbers.rows[k], 0, last_row, "row", term.rows[k])) return false;
    if (is_ratio && !to_index(numbers.pixel_weight_row, 0, last_row, "pixel weight row", term.pixel_weight_row))
        return false;
    if (is_ratio && skip_absent && !to_index(numbers.actual_row, 0, last_row, "actual row", term.actual_row))
        return false;
    term.coefficient = numbers.coefficient;
    term.tp_weight = numbers.tp_weight, term.fp_weight = numbers.fp_weight, term.fn_weight = numbers.fn_weight;
    term.smooth = numbers.smooth, term.exponent = numbers.exponent;
    term.pool = static_cast<Pool>(pool);
    term.skip_absent = skip_absent != 0;
    term.components = components != 0;
    term.class_weights = weights < 0 ? nullptr : &class_weights[weights * channels];
    return true;
}

static PyObject *losses(PyObject *, PyObject *args) {
    void *sums_address, *values, *slopes;
    long long row_count, samples, groups, channels, loss_count;
    int exclusive;
    Numbers<TermNumbers> terms;
    Numbers<double> class_weights;
    if (!PyArg_ParseTuple(args, "O&(LLLL)py#y#LO&O&", to_address, &sums_address, &row_count, &samples, &groups, &channels,
                          &exclusive, &terms.bytes, &terms.size, &class_weights.bytes, &class_weights.size, &loss_count,
                          to_address, &values, to_address, &slopes))
        return nullptr;
    try {
        if (!check_shape(samples, groups, channels) || !check_shape(row_count, samples * groups, channels)) return nullptr;
        if (groups < 1) return refuse("Expected 1 group or more, got %lld.", groups), nullptr;
        if (channels < 1) return refuse("Expected 1 channel or more, got %lld.", channels), nullptr;
        if (!terms.is_whole()) return refuse("A term is 17 numbers."), nullptr;
        const std::vector<TermNumbers> numbers = terms.copy();
        const int64_t term_count = static_cast<int64_t>(numbers.size());
        if (!check_shape(loss_count, row_count, samples * groups * channels) || !check_shape(term_count, 1, channels)) return nullptr;
        if (class_weights.size % static_cast<Py_ssize_t>(channels * sizeof(double)))
            return refuse("Expected a class weight for each of %lld classes in each set.", channels), nullptr;
        const int64_t size = row_count * samples * groups * channels;
        if (!check_doubles(sums_address, size, "sums") || !check_doubles(slopes, 0, "slopes") ||
            !check_doubles(values, loss_count + term_count * (1 + channels), "values"))
            return nullptr;
        const std::vector<double> weights = class_weights.copy();
        std::vector<AnalyticTerm> converted(term_count);
        for (int64_t t = 0; t < term_count; t++)
            if (!to_term(numbers[t], row_count, loss_count, weights, channels, converted[t])) return nullptr;
        const Sums sums{static_cast<const double *>(sums_address), row_count, samples, groups, channels, exclusive != 0};
        write_losses(sums, converted, loss_count, static_cast<double *>(values), static_cast<double *>(slopes));
        Py_RETURN_NONE;
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

// ---- what was compiled ----

#ifdef __clang__
static const char COMPILER[] = __VERSION__;
#else
static const char COMPILER[] = "GCC " __VERSION__;
#endif

static PyObject *instruction_sets(PyObject *, PyObject *) {
    PyObject *names = PyList_New(0);
    for (const InstructionSet &set : SETS) {
        if (!names || !runs_here(set.name)) continue;
        PyObject *name = PyUnicode_FromString(set.name);
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *instruction_set(PyObject *, PyObject *) { return PyUnicode_FromString(current_set.load()->name); }

static PyObject *use(PyObject *, PyObject *args) {
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
    for (const InstructionSet &set : SETS)
        if (!strcmp(set.name, name) && runs_here(set.name)) {
            current_set = &set;
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "There is no instruction set %s here.", name);
}

static PyMethodDef METHODS[] = {
    {"sums", sums, METH_VARARGS, "Writes the sums of a batch. Returns False if a label that counts is out of range."},
    {"gradient", gradient, METH_VARARGS, "Writes the gradient with respect to the predictions."},
    {"pixel_losses", pixel_losses, METH_VARARGS,
     "Writes the losses of single pixels. Returns False if a label that counts is out of range."},
    {"lovasz", lovasz, METH_VARARGS, "Writes the Lovasz losses of sets of pixels, and their slopes by the errors."},
    {"lovasz_gradient", lovasz_gradient, METH_VARARGS, "Writes the gradient of Lovasz losses with respect to the logits."},
    {"losses", losses, METH_VARARGS, "Writes losses of the sums, the values of terms, also per class, and slopes."},
    {"instruction_sets", instruction_sets, METH_NOARGS, "Returns the names of the sets that run here, the best first."},
    {"instruction_set", instruction_set, METH_NOARGS, "Returns the name of the set in use."},
    {"use", use, METH_VARARGS, "Selects the kernels of an instruction set."},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_cpu", "The sums and their gradient, in compiled code for CPUs.",
                             -1, METHODS, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__cpu() {
    for (const InstructionSet &set : SETS)
        if (!current_set.load() && runs_here(set.name)) current_set = &set;
    PyObject *module = PyModule_Create(&MODULE);
    if (!module) return nullptr;
#ifdef Py_GIL_DISABLED
    // A call works on its own batch. What calls share does not change, or is atomic (`current_set`).
    PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    if (PyModule_AddStringConstant(module, "COMPILER", COMPILER) < 0) Py_CLEAR(module);
    return module;
}

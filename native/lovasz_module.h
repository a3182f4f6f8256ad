// The Lovasz loss as functions of the Python module. module.cpp has the conversion of the arguments.
#pragma once

#include "lovasz_pass.h"

static bool check_errors(const LovaszBatch &batch, const char *name) {
    if (batch.cells() * batch.pixels > 0 && !batch.errors) return refuse("The address of the %s is 0.", name);
    if (reinterpret_cast<uintptr_t>(batch.errors) % alignof(float)) return refuse("The %s are not aligned to 4 bytes.", name);
    return true;
}

static PyObject *lovasz(PyObject *, PyObject *args) {
    PyObject *batch;
    int pooled, hinge, wants_slopes;
    void *errors, *results;
    if (!PyArg_ParseTuple(args, "OpppO&O&", &batch, &pooled, &hinge, &wants_slopes, to_address, &errors, to_address, &results))
        return nullptr;
    try {
        LovaszPass pass;
        LovaszBatch &of = pass.batch;
        if (!to_batch(batch, of, pass.threads)) return nullptr;
        of.pooled = pooled != 0, of.hinge = hinge != 0, of.wants_slopes = wants_slopes != 0;
        of.errors = static_cast<float *>(errors);
        of.results = static_cast<double *>(results);
        if (pass.too_large()) return refuse("%s", pass.too_large()), nullptr;
        if (!check_errors(of, "errors") || !check_doubles(results, 3 * of.sets(), "results")) return nullptr;
        Py_BEGIN_ALLOW_THREADS;
        pass.forward();
        Py_END_ALLOW_THREADS;
        return PyBool_FromLong(!of.wrong_label);
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

static PyObject *lovasz_gradient(PyObject *, PyObject *args) {
    PyObject *batch;
    int pooled, hinge;
    void *slopes, *upstream;
    Tensor gradient;
    if (!PyArg_ParseTuple(args, "OppO&O&O&", &batch, &pooled, &hinge, to_address, &slopes, to_address, &upstream, to_tensor, &gradient))
        return nullptr;
    try {
        LovaszPass pass;
        LovaszBatch &of = pass.batch;
        if (!to_batch(batch, of, pass.threads)) return nullptr;
        of.pooled = pooled != 0, of.hinge = hinge != 0;
        of.errors = static_cast<float *>(slopes);
        of.upstream = static_cast<const double *>(upstream);
        of.gradient = gradient;
        if (!check_errors(of, "slopes") || !check_doubles(upstream, of.sets(), "upstream gradient") ||
            !check_tensor(gradient, of.cells() * of.pixels, "gradient") || !check_real(gradient, "gradient"))
            return nullptr;
        Py_BEGIN_ALLOW_THREADS;
        pass.backward();
        Py_END_ALLOW_THREADS;
        Py_RETURN_NONE;
    } catch (const std::exception &) {
        return PyErr_NoMemory();
    }
}

/* The compiled block scanner: see scan.py for what the rows are. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "scan_block.h"
#include "vec.h"

typedef struct {
    visitor v;
    vec txids, offsets, outputs, inputs;
} rows;

static int on_count(visitor *v, uint64_t txs, uint32_t offset) {
    rows *out = (rows *)v;
    if (vec_room(&out->txids, 32 * txs) || vec_room(&out->offsets, 4 * (txs + 1))) return -1;
    memcpy(vec_push(&out->offsets, 4), &offset, 4);
    return 0;
}

static int on_input(visitor *v, uint32_t index, const uint8_t *point) {
    uint8_t *row = vec_push(&((rows *)v)->inputs, 40);
    if (!row) return -1;
    memcpy(row, point, 36);
    memcpy(row + 36, &index, 4);
    return 0;
}

static int on_output(visitor *v, uint32_t index, uint32_t vout, uint64_t value, const uint8_t *script, size_t size) {
    uint8_t digest[32], *row = vec_push(&((rows *)v)->outputs, 32);
    if (!row) return -1;
    sha256_once(script, size, digest);
    memcpy(row, &index, 4);
    memcpy(row + 4, &vout, 4);
    memcpy(row + 8, &value, 8);
    memcpy(row + 16, digest, HASHX);
    memset(row + 16 + HASHX, 0, 16 - HASHX);
    return 0;
}

static int on_tx(visitor *v, uint32_t end, const uint8_t txid[32]) {
    rows *out = (rows *)v;
    memcpy(vec_push(&out->txids, 32), txid, 32);
    memcpy(vec_push(&out->offsets, 4), &end, 4); /* where the next one begins */
    return 0;
}

static PyObject *scan_block(PyObject *self, PyObject *args) {
    Py_buffer raw;
    int auxpow = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|p", &raw, &auxpow)) return NULL;
    rows out = {.v = {on_count, on_input, on_output, on_tx}};
    size_t header = 0;
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    failed = walk_block(raw.buf, (size_t)raw.len, auxpow, &out.v, &header);
    Py_END_ALLOW_THREADS;
    PyObject *result = NULL;
    if (failed < 0)
        PyErr_NoMemory();
    else if (failed)
        PyErr_SetString(PyExc_ValueError, "the bytes are not a block");
    else
        result = Py_BuildValue("y#y#y#y#y#", raw.buf, (Py_ssize_t)header, BYTES_OF(out.txids), BYTES_OF(out.offsets),
                               BYTES_OF(out.outputs), BYTES_OF(out.inputs));
    vec_free(&out.txids), vec_free(&out.offsets), vec_free(&out.outputs), vec_free(&out.inputs);
    PyBuffer_Release(&raw);
    return result;
}

static PyObject *unmask(PyObject *self, PyObject *args) {
    Py_buffer data, key;
    unsigned long long offset;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*K", &data, &key, &offset)) return NULL;
    PyObject *result = key.len == 8 ? PyBytes_FromStringAndSize(NULL, data.len) : NULL;
    if (result) {
        const uint8_t *from = data.buf;
        uint8_t *to = (uint8_t *)PyBytes_AS_STRING(result), turned[8];
        for (int i = 0; i < 8; i++) turned[i] = ((const uint8_t *)key.buf)[(offset + (unsigned)i) & 7];
        uint64_t mask, word;
        memcpy(&mask, turned, 8);
        Py_BEGIN_ALLOW_THREADS;
        Py_ssize_t i = 0;
        for (; i + 8 <= data.len; i += 8) {
            memcpy(&word, from + i, 8);
            word ^= mask;
            memcpy(to + i, &word, 8);
        }
        for (; i < data.len; i++) to[i] = from[i] ^ turned[i & 7];
        Py_END_ALLOW_THREADS;
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the key has 8 bytes");
    PyBuffer_Release(&data);
    PyBuffer_Release(&key);
    return result;
}

typedef struct {
    visitor v;
    uint8_t txid[32];
} one_hash;

static int skip_input(visitor *v, uint32_t index, const uint8_t *point) {
    (void)v, (void)index, (void)point;
    return 0;
}

static int skip_output(visitor *v, uint32_t index, uint32_t vout, uint64_t value, const uint8_t *script, size_t size) {
    (void)v, (void)index, (void)vout, (void)value, (void)script, (void)size;
    return 0;
}

static int keep_hash(visitor *v, uint32_t end, const uint8_t txid[32]) {
    (void)end;
    memcpy(((one_hash *)v)->txid, txid, 32);
    return 0;
}

static PyObject *tx_hash(PyObject *self, PyObject *args) {
    Py_buffer raw;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &raw)) return NULL;
    one_hash out = {.v = {NULL, skip_input, skip_output, keep_hash}};
    reader r = {raw.buf, (const uint8_t *)raw.buf + raw.len, 0, 1};
    walk_tx(&r, &out.v, 0, raw.buf);
    int good = !r.bad && r.at == r.end;
    PyBuffer_Release(&raw);
    if (good) return PyBytes_FromStringAndSize((const char *)out.txid, 32);
    PyErr_SetString(PyExc_ValueError, "the bytes are not a transaction");
    return NULL;
}

static PyMethodDef methods[] = {
    {"scan_block", scan_block, METH_VARARGS, "scan_block(raw, auxpow=False) -> (header, txids, offsets, outputs, inputs)"},
    {"unmask", unmask, METH_VARARGS, "unmask(data, key, offset) -> data without the mask of the node's block files"},
    {"tx_hash", tx_hash, METH_VARARGS, "tx_hash(raw) -> hash of one transaction, internal order"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scan", "The compiled block scanner.", -1, methods, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit__scan(void) {
    sha256_choose();
    return PyModule_Create(&module);
}

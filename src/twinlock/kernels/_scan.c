/* The compiled block scanner: see scan.py for what the rows are. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "scan_block.h"

typedef struct {
    uint8_t *data;
    size_t size, room;
} bytes_out;

static int reserve(bytes_out *out, size_t more) {
    if (out->size + more <= out->room) return 0;
    size_t room = (out->size + more) * 2;
    uint8_t *data = realloc(out->data, room);
    if (!data) return -1;
    out->data = data;
    out->room = room;
    return 0;
}

typedef struct {
    visitor v;
    bytes_out txids, offsets, outputs, inputs;
} rows;

static int on_count(visitor *v, uint64_t txs) {
    rows *out = (rows *)v;
    return reserve(&out->txids, 32 * txs) || reserve(&out->offsets, 4 * (txs + 1)) ? -1 : 0;
}

static int on_input(visitor *v, uint32_t index, const uint8_t *point) {
    bytes_out *out = &((rows *)v)->inputs;
    if (reserve(out, 40)) return -1;
    memcpy(out->data + out->size, point, 36);
    memcpy(out->data + out->size + 36, &index, 4);
    out->size += 40;
    return 0;
}

static int on_output(visitor *v, uint32_t index, uint32_t vout, uint64_t value, const uint8_t *script, size_t size) {
    bytes_out *out = &((rows *)v)->outputs;
    if (reserve(out, 32)) return -1;
    uint8_t digest[32], *row = out->data + out->size;
    sha256_once(script, size, digest);
    memcpy(row, &index, 4);
    memcpy(row + 4, &vout, 4);
    memcpy(row + 8, &value, 8);
    memcpy(row + 16, digest, HASHX);
    memset(row + 16 + HASHX, 0, 16 - HASHX);
    out->size += 32;
    return 0;
}

static int on_tx(visitor *v, uint32_t index, uint32_t offset, uint32_t end, const uint8_t txid[32]) {
    rows *out = (rows *)v;
    (void)index;
    memcpy(out->txids.data + out->txids.size, txid, 32);
    out->txids.size += 32;
    memcpy(out->offsets.data + out->offsets.size, &offset, 4);
    memcpy(out->offsets.data + out->offsets.size + 4, &end, 4); /* the last one's end stays */
    out->offsets.size += 4;
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
    else {
        uint32_t none = (uint32_t)header + 1;
        if (!out.offsets.size) {
            out.offsets.data = realloc(out.offsets.data, 4);
            memcpy(out.offsets.data, &none, 4);
        }
        /* A null pointer would become None: every part points somewhere, be it empty. */
#define PART(part) out.part.data ? out.part.data : (const uint8_t *)"", (Py_ssize_t)out.part.size
        result = Py_BuildValue("y#y#y#y#y#", raw.buf, (Py_ssize_t)header, PART(txids), out.offsets.data,
                               (Py_ssize_t)out.offsets.size + 4, PART(outputs), PART(inputs));
    }
    free(out.txids.data);
    free(out.offsets.data);
    free(out.outputs.data);
    free(out.inputs.data);
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

static int keep_hash(visitor *v, uint32_t index, uint32_t offset, uint32_t end, const uint8_t txid[32]) {
    (void)index, (void)offset, (void)end;
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

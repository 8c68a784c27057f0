/* The compiled index kernel: building segments, and the questions wallets ask of them. See index.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "index_coins.h"
#include "index_merge.h"

/* -- transactions */

static PyObject *find(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txid;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*", &segments, &txid)) return NULL;
    PyObject *result = NULL;
    if (check_segments(segments) == 0 && txid.len == 32) {
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; k >= 0 && !result; k--) {
            segment *s = SEGMENT(segments, k);
            int64_t tx = find_tx(s, txid.buf);
            if (tx < 0) continue;
            size_t block = block_of(s, (uint64_t)tx, 0);
            uint64_t position = s->first_tx + (uint64_t)tx - get64(s->at[BLOCKS] + BLOCK_ROW * block);
            result = Py_BuildValue("KK", (unsigned long long)(s->first_height + block), (unsigned long long)position);
        }
        if (!result && !PyErr_Occurred()) result = Py_NewRef(Py_None);
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a transaction's hash has 32 bytes");
    PyBuffer_Release(&txid);
    return result;
}

/* Whether a segment from number k on spends a script's output of an older one. */
static int spent_later(PyObject *segments, Py_ssize_t k, const uint8_t *name, uint64_t tx, uint32_t vout) {
    for (; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        size_t end, i = find_spends(s, name, &end);
        for (; i < end; i++) {
            const uint8_t *row = s->at[SPENDS] + SPEND_ROW * i;
            if (get64(row + 16) == tx && get32(row + 12) == vout) return 1;
        }
    }
    return 0;
}

static PyObject *output(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txid;
    long long vout;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*L", &segments, &txid, &vout)) return NULL;
    PyObject *result = NULL;
    if (check_segments(segments) == 0 && txid.len == 32) {
        const int possible = vout >= 0 && vout <= UINT32_MAX;
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; possible && k >= 0 && !result; k--) {
            segment *s = SEGMENT(segments, k);
            const uint8_t *row;
            int64_t tx = find_tx(s, txid.buf);
            Py_ssize_t script = tx < 0 ? -1 : find_coin(s, (uint32_t)tx, (uint32_t)vout, &row);
            if (script < 0) continue;
            const uint8_t *name = s->at[SCRIPTS] + SCRIPT_ROW * script;
            if (spent_later(segments, k + 1, name, s->first_tx + (uint64_t)tx, (uint32_t)vout)) break;
            result = Py_BuildValue("y#K", (const char *)name, (Py_ssize_t)HASHX, (unsigned long long)get64(row + 8));
        }
        if (!result && !PyErr_Occurred()) result = Py_NewRef(Py_None);
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a transaction's hash has 32 bytes");
    PyBuffer_Release(&txid);
    return result;
}

static PyObject *lookup(PyObject *self, PyObject *args) {
    Py_buffer txids;
    unsigned long long first = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|K", &txids, &first)) return NULL;
    vec out = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    failed = put_lookup(txids.buf, (size_t)txids.len / 32, first, &out);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    PyBuffer_Release(&txids);
    return result;
}

/* A part of the section `lookup` from pieces of it, one after the other. */
static PyObject *sort_lookup(PyObject *self, PyObject *args) {
    Py_buffer rows;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &rows)) return NULL;
    PyObject *result = PyBytes_FromStringAndSize(rows.buf, rows.len - rows.len % 8);
    if (result) {
        number64 *at = (number64 *)PyBytes_AS_STRING(result);
        Py_BEGIN_ALLOW_THREADS;
        sort_numbers(at, (size_t)rows.len / 8);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&rows);
    return result;
}

/* The same of the section `outpoints`. */
static PyObject *sort_outpoints_of(PyObject *self, PyObject *args) {
    Py_buffer rows;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &rows)) return NULL;
    vec points = {0}, out = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    size_t count = (size_t)rows.len / OUTPOINT_ROW;
    failed = vec_room(&points, count * sizeof(outpoint));
    for (size_t i = 0; i < count && !failed; i++) {
        const uint8_t *row = (const uint8_t *)rows.buf + OUTPOINT_ROW * i;
        *(outpoint *)vec_push(&points, sizeof(outpoint)) = (outpoint){(uint64_t)get32(row) << 32 | get32(row + 4), get32(row + 8), 0};
    }
    if (!failed) failed = put_outpoints(&points, &out);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&points), vec_free(&out);
    PyBuffer_Release(&rows);
    return result;
}

/* -- Merkle trees over transaction hashes */

static PyObject *merkle_root(PyObject *self, PyObject *args) {
    Py_buffer leaves;
    uint8_t root[32];
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &leaves)) return NULL;
    int failed = merkle_root_of(leaves.buf, (size_t)leaves.len / 32, root);
    PyBuffer_Release(&leaves);
    if (failed < 0) return PyErr_NoMemory();
    if (failed) return PyErr_Format(PyExc_ValueError, "the hashes have no root of their own");
    return PyBytes_FromStringAndSize((const char *)root, 32);
}

static PyObject *merkle_tree(PyObject *self, PyObject *args) {
    Py_buffer leaves;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &leaves)) return NULL;
    vec out = {0};
    const size_t leaf_count = (size_t)leaves.len / 32;
    size_t count = above(leaf_count, GROUP_LEVEL), level = 0;
    int failed = leaf_count <= 1 << GROUP_LEVEL ? 0 : vec_room(&out, 64 * count + 2048);
    if (out.data) {
        for (size_t i = 0; i < count; i++, out.size += 32) merkle_node(leaves.buf, leaf_count, GROUP_LEVEL, i, out.data + out.size);
        while (count > 1) {
            const size_t next = out.size;
            for (size_t i = 0; i < count; i += 2, out.size += 32) {
                const uint8_t *left = out.data + level + 32 * i, *right = i + 1 < count ? left + 32 : left;
                merkle_pair(left, right, out.data + out.size);
            }
            level = next;
            count = (count + 1) / 2;
        }
    }
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    PyBuffer_Release(&leaves);
    return result;
}

static PyObject *merkle_branch_json(PyObject *self, PyObject *args) {
    Py_buffer tree, leaves;
    Py_ssize_t position;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*n", &tree, &leaves, &position)) return NULL;
    char text[64 * 68], *at = text;
    const size_t leaf_count = (size_t)leaves.len / 32;
    const uint8_t *row = tree.buf, *end = row + tree.len;
    int good = position >= 0 && (size_t)position < leaf_count;
    *at++ = '[';
    for (size_t level = 0, count = leaf_count, index = (size_t)position; good && count > 1; level++, index /= 2) {
        const size_t sibling = (index ^ 1) < count ? index ^ 1 : index;
        uint8_t node[32];
        if (level < GROUP_LEVEL) merkle_node(leaves.buf, leaf_count, level, sibling, node);
        else if ((good = count <= (size_t)(end - row) / 32)) {
            memcpy(node, row + 32 * sibling, 32);
            row += 32 * count;
        }
        if (level) *at++ = ',';
        *at++ = '"';
        put_hash_text(at, node);
        at[64] = '"';
        at += 65;
        count = (count + 1) / 2;
    }
    *at++ = ']';
    PyBuffer_Release(&tree);
    PyBuffer_Release(&leaves);
    if (!good) return PyErr_Format(PyExc_ValueError, "the tree has no such leaf");
    return PyBytes_FromStringAndSize(text, at - text);
}

static PyMethodDef methods[] = {
    {"connect", connect, METH_VARARGS, "connect(segments, txids, outputs, inputs) -> sections of a block"},
    {"merge", merge, METH_VARARGS, "merge(segments, txids) -> sections"},
    {"merge_part", merge_part, METH_VARARGS, "merge_part(segments, part, bits, scripts, entries, coins) -> sections of a part"},
    {"merge_lookup", merge_lookup, METH_VARARGS, "merge_lookup(segments, part, bits) -> a part of the section"},
    {"lookup", lookup, METH_VARARGS, "lookup(txids, first=0) -> section"},
    {"sort_lookup", sort_lookup, METH_VARARGS, "sort_lookup(rows) -> rows, sorted"},
    {"sort_outpoints", sort_outpoints_of, METH_VARARGS, "sort_outpoints(rows) -> rows, sorted"},
    {"history", history, METH_VARARGS, "history(segments, hashx, start=0, end=-1, most=0) -> rows"},
    {"history_json", history_json, METH_VARARGS, "history_json(segments, hashx, start=0, end=-1, most=0) -> JSON list"},
    {"history_size", history_size, METH_VARARGS, "history_size(segments, hashx, start=0, end=-1) -> entries"},
    {"status", status, METH_VARARGS, "status(segments, hashx, tail, progress=b\"\") -> (hex digest or None, progress)"},
    {"unspent", unspent, METH_VARARGS, "unspent(segments, hashx, excluded) -> rows"},
    {"unspent_json", unspent_json, METH_VARARGS, "unspent_json(segments, hashx, excluded) -> JSON list"},
    {"balance", balance, METH_VARARGS, "balance(segments, hashx) -> atoms"},
    {"find", find, METH_VARARGS, "find(segments, txid) -> (height, position) or None"},
    {"output", output, METH_VARARGS, "output(segments, txid, vout) -> (hashx, value) or None"},
    {"merkle_root", merkle_root, METH_VARARGS, "merkle_root(leaves) -> root"},
    {"merkle_tree", merkle_tree, METH_VARARGS, "merkle_tree(leaves) -> the levels above groups"},
    {"merkle_branch_json", merkle_branch_json, METH_VARARGS, "merkle_branch_json(tree, leaves, position) -> JSON list"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_index", "The compiled index kernel.", -1, methods, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit__index(void) {
    sha256_choose();
    if (PyType_Ready(&segment_type) < 0 || PyType_Ready(&builder_type) < 0) return NULL;
    PyObject *m = PyModule_Create(&module);
    if (!m) return NULL;
    if (PyModule_AddObjectRef(m, "Segment", (PyObject *)&segment_type) < 0 ||
        PyModule_AddObjectRef(m, "Builder", (PyObject *)&builder_type) < 0) {
        Py_DECREF(m);
        return NULL;
    }
    return m;
}

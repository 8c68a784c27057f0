/* BLAKE-256 (14 rounds), RIPEMD-160, and SHA-256d over many slices, for CPython.
 *
 * Twins in plain Python: blake256.py, ripemd160.py, sha256d.py. The GIL is released for inputs that
 * take longer than a thread switch costs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "blake256.h"
#include "scan_sha256.h"

/* Bytes that are hashed in about ten microseconds. */
#define LONG_INPUT 4096

static inline uint32_t load_le32(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline void store_le32(uint8_t *p, uint32_t x) {
    p[3] = (uint8_t)(x >> 24);
    p[2] = (uint8_t)(x >> 16);
    p[1] = (uint8_t)(x >> 8);
    p[0] = (uint8_t)x;
}

static inline uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* ---- RIPEMD-160 ------------------------------------------------------------------------------ */

static const uint8_t LEFT_WORD[80] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 7, 4, 13, 1,
                                      10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8, 3, 10, 14, 4, 9, 15, 8, 1,
                                      2, 7, 0, 6, 13, 11, 5, 12, 1, 9, 11, 10, 0, 8, 12, 4, 13, 3, 7, 15,
                                      14, 5, 6, 2, 4, 0, 5, 9, 7, 12, 2, 10, 14, 1, 3, 8, 11, 6, 15, 13};
static const uint8_t RIGHT_WORD[80] = {5, 14, 7, 0, 9, 2, 11, 4, 13, 6, 15, 8, 1, 10, 3, 12, 6, 11, 3, 7,
                                       0, 13, 5, 10, 14, 15, 8, 12, 4, 9, 1, 2, 15, 5, 1, 3, 7, 14, 6, 9,
                                       11, 8, 12, 2, 10, 0, 4, 13, 8, 6, 4, 1, 3, 11, 15, 0, 5, 12, 2, 13,
                                       9, 7, 10, 14, 12, 15, 10, 4, 1, 5, 8, 7, 6, 2, 13, 14, 0, 3, 9, 11};
static const uint8_t LEFT_TURN[80] = {11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8, 7, 6, 8, 13,
                                      11, 9, 7, 15, 7, 12, 15, 9, 11, 7, 13, 12, 11, 13, 6, 7, 14, 9, 13, 15,
                                      14, 8, 13, 6, 5, 12, 7, 5, 11, 12, 14, 15, 14, 15, 9, 8, 9, 14, 5, 6,
                                      8, 6, 5, 12, 9, 15, 5, 11, 6, 8, 13, 12, 5, 12, 13, 14, 11, 8, 5, 6};
static const uint8_t RIGHT_TURN[80] = {8, 9, 9, 11, 13, 15, 15, 5, 7, 7, 8, 11, 14, 14, 12, 6, 9, 13, 15, 7,
                                       12, 8, 9, 11, 7, 7, 12, 7, 6, 15, 13, 11, 9, 7, 15, 11, 8, 6, 6, 14,
                                       12, 13, 5, 14, 13, 13, 7, 5, 15, 5, 8, 11, 14, 14, 6, 14, 6, 9, 12, 9,
                                       12, 5, 15, 8, 8, 5, 12, 9, 12, 5, 14, 6, 8, 13, 6, 5, 15, 13, 11, 11};
static const uint32_t LEFT_ADD[5] = {0x00000000, 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xa953fd4e};
static const uint32_t RIGHT_ADD[5] = {0x50a28be6, 0x5c4dd124, 0x6d703ef3, 0x7a6d76e9, 0x00000000};

static inline uint32_t ripemd_mix(int f, uint32_t x, uint32_t y, uint32_t z) {
    switch (f) {
        case 0: return x ^ y ^ z;
        case 1: return (x & y) | (~x & z);
        case 2: return (x | ~y) ^ z;
        case 3: return (x & z) | (y & ~z);
        default: return x ^ (y | ~z);
    }
}

static inline void ripemd_step(uint32_t s[5], uint32_t mixed, int turn) {
    const uint32_t fresh = rotl(mixed, turn) + s[4];
    s[0] = s[4];
    s[4] = s[3];
    s[3] = rotl(s[2], 10);
    s[2] = s[1];
    s[1] = fresh;
}

static void ripemd160_block(uint32_t h[5], const uint8_t *block) {
    uint32_t m[16], left[5], right[5];
    for (int i = 0; i < 16; i++) m[i] = load_le32(block + 4 * i);
    memcpy(left, h, 20);
    memcpy(right, h, 20);
    for (int i = 0; i < 80; i++) {
        const int turn = i / 16;
        ripemd_step(left, left[0] + ripemd_mix(turn, left[1], left[2], left[3]) + m[LEFT_WORD[i]] + LEFT_ADD[turn],
                    LEFT_TURN[i]);
        ripemd_step(right,
                    right[0] + ripemd_mix(4 - turn, right[1], right[2], right[3]) + m[RIGHT_WORD[i]] + RIGHT_ADD[turn],
                    RIGHT_TURN[i]);
    }
    const uint32_t first = h[1] + left[2] + right[3];
    h[1] = h[2] + left[3] + right[4];
    h[2] = h[3] + left[4] + right[0];
    h[3] = h[4] + left[0] + right[1];
    h[4] = h[0] + left[1] + right[2];
    h[0] = first;
}

static void ripemd160_digest(const uint8_t *data, size_t size, uint8_t out[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t tail[128] = {0};
    const uint64_t bits = (uint64_t)size * 8;
    const size_t rest = size % 64, blocks = size / 64, end = rest <= 55 ? 64 : 128;
    for (size_t i = 0; i < blocks; i++) ripemd160_block(h, data + 64 * i);
    if (rest) memcpy(tail, data + 64 * blocks, rest);
    tail[rest] = 0x80;
    store_le32(tail + end - 8, (uint32_t)bits);
    store_le32(tail + end - 4, (uint32_t)(bits >> 32));
    for (size_t at = 0; at < end; at += 64) ripemd160_block(h, tail + at);
    for (int i = 0; i < 5; i++) store_le32(out + 4 * i, h[i]);
}

/* ---- Python ---------------------------------------------------------------------------------- */

typedef void (*digest_fn)(const uint8_t *, size_t, uint8_t *);

static PyObject *digest_of(PyObject *arg, digest_fn digest, Py_ssize_t out_size) {
    Py_buffer view;
    uint8_t out[32];
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) return NULL;
    if (view.len > LONG_INPUT) {
        Py_BEGIN_ALLOW_THREADS
        digest(view.buf, (size_t)view.len, out);
        Py_END_ALLOW_THREADS
    } else {
        digest(view.buf, (size_t)view.len, out);
    }
    PyBuffer_Release(&view);
    return PyBytes_FromStringAndSize((const char *)out, out_size);
}

static PyObject *py_blake256(PyObject *self, PyObject *arg) {
    (void)self;
    return digest_of(arg, blake256_digest, 32);
}

static PyObject *py_ripemd160(PyObject *self, PyObject *arg) {
    (void)self;
    return digest_of(arg, ripemd160_digest, 20);
}

/* The offsets of a sequence of integers, each not below the one before and within `size`; NULL with an
 * exception set otherwise. The caller frees them. */
static Py_ssize_t *read_offsets(PyObject *sequence, Py_ssize_t count, Py_ssize_t size) {
    Py_ssize_t *offsets = PyMem_Malloc((size_t)(count ? count : 1) * sizeof *offsets);
    if (!offsets) return (Py_ssize_t *)PyErr_NoMemory();
    Py_ssize_t last = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_ssize_t offset = PyNumber_AsSsize_t(PySequence_Fast_GET_ITEM(sequence, i), PyExc_ValueError);
        if (offset == -1 && PyErr_Occurred()) goto fail;
        if (offset < last || offset > size) {
            PyErr_SetString(PyExc_ValueError, "offsets must rise within the data");
            goto fail;
        }
        offsets[i] = last = offset;
    }
    return offsets;
fail:
    PyMem_Free(offsets);
    return NULL;
}

static PyObject *py_sha256d_many(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer view;
    PyObject *given, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*O:sha256d_many", &view, &given)) return NULL;
    /* A copy, because converting one element could change the caller's list under our feet. */
    PyObject *sequence = PySequence_Tuple(given);
    if (!sequence) goto done;
    const Py_ssize_t count = PyTuple_GET_SIZE(sequence);
    Py_ssize_t *offsets = read_offsets(sequence, count, view.len);
    if (!offsets) goto done;
    const Py_ssize_t slices = count ? count - 1 : 0;
    result = PyBytes_FromStringAndSize(NULL, slices * 32);
    if (result) {
        uint8_t *out = (uint8_t *)PyBytes_AS_STRING(result);
        const uint8_t *data = view.buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < slices; i++, out += 32) {
            sha256_once(data + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), out);
            sha256_again(out);
        }
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(offsets);
done:
    Py_XDECREF(sequence);
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef METHODS[] = {
    {"blake256", py_blake256, METH_O, "blake256(data: bytes) -> bytes\n\nThe 32-byte BLAKE-256 digest."},
    {"ripemd160", py_ripemd160, METH_O, "ripemd160(data: bytes) -> bytes\n\nThe 20-byte RIPEMD-160 digest."},
    {"sha256d_many", py_sha256d_many, METH_VARARGS,
     "sha256d_many(data: bytes, offsets: Sequence[int]) -> bytes\n\n"
     "SHA-256d of each slice between two neighbouring offsets, 32 bytes each, concatenated."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_hashes", "Compiled hash kernels.", 0, METHODS,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__hashes(void) {
    sha256_choose();
    return PyModuleDef_Init(&MODULE);
}

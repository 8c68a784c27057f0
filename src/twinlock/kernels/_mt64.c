/* MT19937-64 and the draws of an epoch's shuffle, for CPython. Twin in plain Python: mt64.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define N 312
#define M 156

typedef struct {
    PyObject_HEAD
    uint64_t state[N];
    int index;
} Generator;

static void fill(uint64_t *state, uint64_t seed) {
    state[0] = seed;
    for (int i = 1; i < N; i++)
        state[i] = 6364136223846793005ULL * (state[i - 1] ^ state[i - 1] >> 62) + (uint64_t)i;
}

static int next_place(uint64_t *state, int i) {
    if (i + 1 < N) return i + 1;
    state[0] = state[N - 1];
    return 1;
}

/* Word j of the seed, read big-endian, zeros beyond its end. */
static uint64_t key_word(const uint8_t *seed, size_t size, size_t j) {
    uint64_t word = 0;
    for (size_t at = 8 * j; at < 8 * j + 8; at++) word = word << 8 | (at < size ? seed[at] : 0);
    return word;
}

static void fill_by_array(uint64_t *state, const uint8_t *seed, size_t size) {
    const size_t length = (size + 7) / 8;
    int i = 1;
    size_t j = 0;
    fill(state, 19650218ULL);
    for (size_t k = length > N ? length : N; k; k--) {
        const uint64_t last = state[i - 1];
        state[i] = (state[i] ^ (last ^ last >> 62) * 3935559000370003845ULL) + key_word(seed, size, j) + j;
        i = next_place(state, i);
        j = (j + 1) % length;
    }
    for (int k = N - 1; k; k--) {
        const uint64_t last = state[i - 1];
        state[i] = (state[i] ^ (last ^ last >> 62) * 2862933555777941757ULL) - (uint64_t)i;
        i = next_place(state, i);
    }
    state[0] = 1ULL << 63;
}

static void twist(Generator *self) {
    uint64_t *state = self->state;
    for (int i = 0; i < N; i++) {
        const uint64_t x = (state[i] & 0xffffffff80000000ULL) | (state[(i + 1) % N] & 0x7fffffffULL);
        state[i] = state[(i + M) % N] ^ x >> 1 ^ (x & 1 ? 0xb5026f5aa96619e9ULL : 0);
    }
    self->index = 0;
}

static uint64_t draw(Generator *self) {
    if (self->index == N) twist(self);
    uint64_t x = self->state[self->index++];
    x ^= x >> 29 & 0x5555555555555555ULL;
    x ^= x << 17 & 0x71d67fffeda60000ULL;
    x ^= x << 37 & 0xfff7eee000000000ULL;
    return x ^ x >> 43;
}

static uint32_t draw31(Generator *self) { return (uint32_t)(draw(self) >> 33); }

static uint32_t draw_below(Generator *self, uint32_t n) {
    if ((n & (n - 1)) == 0) return draw31(self) & (n - 1);
    const uint32_t largest = (1u << 31) - 1 - (1u << 31) % n;
    uint32_t value = draw31(self);
    while (value > largest) value = draw31(self);
    return value % n;
}

static int generator_init(PyObject *object, PyObject *args, PyObject *keywords) {
    Generator *self = (Generator *)object;
    static char *names[] = {"seed", NULL};
    PyObject *seed = NULL;
    Py_buffer view;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:MT19937_64", names, &seed)) return -1;
    self->index = N;
    if (!seed || PyLong_Check(seed)) {
        const uint64_t number = seed ? PyLong_AsUnsignedLongLong(seed) : 5489;
        if (number == (uint64_t)-1 && PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "the seed must be below 2^64");
            return -1;
        }
        fill(self->state, number);
        return 0;
    }
    if (PyObject_GetBuffer(seed, &view, PyBUF_SIMPLE) < 0) return -1;
    if (view.len) fill_by_array(self->state, view.buf, (size_t)view.len);
    else PyErr_SetString(PyExc_ValueError, "the seed is empty");
    const int result = view.len ? 0 : -1;
    PyBuffer_Release(&view);
    return result;
}

static PyObject *generator_u64(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(draw((Generator *)self));
}

static PyObject *generator_int31(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(draw31((Generator *)self));
}

/* 0 to 2^31 - 1, or -1 with ValueError set. */
static long bound(PyObject *arg, long least, const char *message) {
    const Py_ssize_t n = PyNumber_AsSsize_t(arg, PyExc_ValueError);
    if (n == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_ValueError)) PyErr_SetString(PyExc_ValueError, message);
        return -1;
    }
    if (n < least || n > 0x7fffffffL) {
        PyErr_SetString(PyExc_ValueError, message);
        return -1;
    }
    return (long)n;
}

static PyObject *generator_intn(PyObject *self, PyObject *arg) {
    const long n = bound(arg, 1, "n must be in 1 .. 2^31 - 1");
    return n < 0 ? NULL : PyLong_FromUnsignedLong(draw_below((Generator *)self, (uint32_t)n));
}

static PyObject *generator_shuffle(PyObject *self, PyObject *arg) {
    const long n = bound(arg, 0, "n must be in 0 .. 2^31 - 1");
    if (n < 0) return NULL;
    PyObject *queue = PyList_New(n);
    if (!queue) return NULL;
    for (long i = 0; i < n; i++) {
        PyObject *place = PyLong_FromLong(i);
        if (!place) {
            Py_DECREF(queue);
            return NULL;
        }
        PyList_SET_ITEM(queue, i, place);
    }
    for (long i = 0; i < n; i++) {
        const long j = i + (long)draw_below((Generator *)self, (uint32_t)(n - i));
        PyObject *other = PyList_GET_ITEM(queue, j);
        PyList_SET_ITEM(queue, j, PyList_GET_ITEM(queue, i));
        PyList_SET_ITEM(queue, i, other);
    }
    return queue;
}

static PyMethodDef METHODS[] = {
    {"u64", generator_u64, METH_NOARGS, "The next 64 bits."},
    {"int31", generator_int31, METH_NOARGS, "The upper 31 bits of the next output."},
    {"intn", generator_intn, METH_O, "A fair number in 0 .. n-1; n = 1 consumes an output too."},
    {"shuffle", generator_shuffle, METH_O, "The order in which a sorted queue of n orders is matched."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject GENERATOR = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twinlock.kernels._mt64.MT19937_64",
    .tp_doc = "MT19937_64(seed: bytes | int = 5489)\n\nThe 64-bit Mersenne Twister.",
    .tp_basicsize = sizeof(Generator),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = METHODS,
    .tp_init = generator_init,
    .tp_new = PyType_GenericNew,
};

static int add_type(PyObject *module) {
    if (PyType_Ready(&GENERATOR) < 0) return -1;
    return PyModule_AddObjectRef(module, "MT19937_64", (PyObject *)&GENERATOR);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, add_type}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_mt64", "The compiled generator.", 0, NULL,
                                    SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__mt64(void) { return PyModuleDef_Init(&MODULE); }

/* Batches of ECDSA signatures on secp256k1, made and checked without the interpreter's lock.

   libsecp256k1 is not linked here: coincurve brings a copy, and its functions come as addresses. The twin in plain
   Python is twinlock.chain.keys, one signature at a time; twinlock.chain.signatures picks, and its tests compare. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { KEY_MAX = 65, DER_MAX = 72, HASH = 32, WRONG = 0, RIGHT = 1, NO_KEY = 2 };

typedef struct { unsigned char data[64]; } Opaque; /* libsecp256k1's keys and signatures; both have 64 bytes */

typedef struct {
    const void *context;
    int (*parse_key)(const void *, Opaque *, const uint8_t *, size_t);
    int (*parse_compact)(const void *, Opaque *, const uint8_t *);
    int (*normalize)(const void *, Opaque *, const Opaque *);
    int (*verify)(const void *, const Opaque *, const uint8_t *, const Opaque *);
    int (*sign)(const void *, Opaque *, const uint8_t *, const uint8_t *, const void *, const void *);
    int (*serialize)(const void *, uint8_t *, size_t *, const Opaque *);
} Library;

typedef struct {
    uint8_t key[KEY_MAX], digest[HASH], der[DER_MAX];
    uint8_t key_size, der_size;
} Job;

static int library_of(PyObject *addresses, Library *library) {
    void *found[7];
    if (!PyTuple_Check(addresses) || PyTuple_GET_SIZE(addresses) != 7) {
        PyErr_SetString(PyExc_TypeError, "seven addresses");
        return 0;
    }
    for (int i = 0; i < 7; i++) {
        found[i] = PyLong_AsVoidPtr(PyTuple_GET_ITEM(addresses, i));
        if (!found[i]) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a function is missing");
            return 0;
        }
    }
    memcpy(library, found, sizeof found);
    return 1;
}

/* One strictly encoded integer into 32 bytes; 0 if it is none. Moves the cursor behind it. */
static int der_integer(const uint8_t **at, const uint8_t *end, uint8_t out[HASH]) {
    const uint8_t *p = *at;
    if (end - p < 3 || p[0] != 2 || p[1] == 0 || p[1] > end - p - 2) return 0;
    size_t size = p[1];
    p += 2;
    *at = p + size;
    if (p[0] & 0x80 || (size > 1 && p[0] == 0 && !(p[1] & 0x80))) return 0;
    if (p[0] == 0 && size > 1) p++, size--;
    if (size > HASH) return 0;
    memset(out, 0, HASH);
    memcpy(out + HASH - size, p, size);
    return 1;
}

static int compact_of(const Job *job, uint8_t out[2 * HASH]) {
    const uint8_t *at = job->der + 2, *end = job->der + job->der_size;
    if (job->der_size < 8 || job->der[0] != 0x30 || job->der[1] != job->der_size - 2) return 0;
    return der_integer(&at, end, out) && der_integer(&at, end, out + HASH) && at == end;
}

static int key_shape(const Job *job) {
    if (job->key_size == 33) return job->key[0] == 2 || job->key[0] == 3;
    return job->key_size == 65 && job->key[0] == 4;
}

static char verdict(const Library *library, const Job *job) {
    Opaque key, signature;
    uint8_t compact[2 * HASH];
    if (!key_shape(job) || !library->parse_key(library->context, &key, job->key, job->key_size)) return NO_KEY;
    if (!compact_of(job, compact) || !library->parse_compact(library->context, &signature, compact)) return WRONG;
    library->normalize(library->context, &signature, &signature); /* a high S is as good as a low one */
    return library->verify(library->context, &signature, job->digest, &key) ? RIGHT : WRONG;
}

/* What does not fit is neither key nor signature: its size is kept 0, which no check accepts. */
static void fill(uint8_t *out, uint8_t *size, size_t most, PyObject *bytes) {
    const size_t given = (size_t)PyBytes_GET_SIZE(bytes);
    *size = given > most ? 0 : (uint8_t)given;
    memcpy(out, PyBytes_AS_STRING(bytes), *size);
}

static int read_job(PyObject *item, Job *job) {
    PyObject *key, *digest, *der;
    if (!PyArg_ParseTuple(item, "SSS", &key, &digest, &der)) return 0;
    fill(job->key, &job->key_size, KEY_MAX, key);
    fill(job->der, &job->der_size, DER_MAX, der);
    if (PyBytes_GET_SIZE(digest) == HASH) memcpy(job->digest, PyBytes_AS_STRING(digest), HASH);
    else job->der_size = 0; /* nothing signs it */
    return 1;
}

static PyObject *verify_many(PyObject *self, PyObject *args) {
    PyObject *addresses, *items, *verdicts = NULL;
    Library library;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!", &addresses, &PyList_Type, &items) || !library_of(addresses, &library))
        return NULL;
    const Py_ssize_t count = PyList_GET_SIZE(items);
    Job *jobs = PyMem_Calloc((size_t)count + 1, sizeof(Job));
    if (!jobs) return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyTuple_Check(PyList_GET_ITEM(items, i)) || !read_job(PyList_GET_ITEM(items, i), &jobs[i])) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a job is a tuple of three byte strings");
            goto done;
        }
    verdicts = PyBytes_FromStringAndSize(NULL, count);
    if (!verdicts) goto done;
    char *out = PyBytes_AS_STRING(verdicts);
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) out[i] = verdict(&library, &jobs[i]);
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(jobs);
    return verdicts;
}

/* Called through a pointer that may change, so that no compiler leaves out the wiping of what is not read again. */
static void *(*volatile wipe)(void *, int, size_t) = memset;

static PyObject *as_list(const Job *jobs, Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *der = PyBytes_FromStringAndSize((const char *)jobs[i].der, jobs[i].der_size);
        if (!der) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, der);
    }
    return list;
}

static PyObject *sign_many(PyObject *self, PyObject *args) {
    PyObject *addresses, *digests, *list = NULL;
    const char *secret;
    Py_ssize_t size;
    Library library;
    uint8_t key[HASH];
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy#O!", &addresses, &secret, &size, &PyList_Type, &digests)) return NULL;
    if (!library_of(addresses, &library)) return NULL;
    if (size != HASH) return PyErr_Format(PyExc_ValueError, "a secret has 32 bytes");
    const Py_ssize_t count = PyList_GET_SIZE(digests);
    Job *jobs = PyMem_Calloc((size_t)count + 1, sizeof(Job));
    if (!jobs) return PyErr_NoMemory();
    memcpy(key, secret, HASH);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *digest = PyList_GET_ITEM(digests, i);
        if (!PyBytes_Check(digest) || PyBytes_GET_SIZE(digest) != HASH) {
            PyErr_SetString(PyExc_ValueError, "a digest has 32 bytes");
            goto done;
        }
        memcpy(jobs[i].digest, PyBytes_AS_STRING(digest), HASH);
    }
    int good = 1;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count && good; i++) {
        Opaque signature;
        size_t room = DER_MAX;
        good = library.sign(library.context, &signature, jobs[i].digest, key, NULL, NULL) &&
               library.serialize(library.context, jobs[i].der, &room, &signature);
        jobs[i].der_size = (uint8_t)room;
    }
    Py_END_ALLOW_THREADS
    if (good) list = as_list(jobs, count);
    else PyErr_SetString(PyExc_ValueError, "the secret is not a key");
done:
    wipe(key, 0, sizeof key);
    PyMem_Free(jobs);
    return list;
}

static PyMethodDef methods[] = {
    {"verify_many", verify_many, METH_VARARGS, "(addresses, [(key, digest, der)]) -> a byte each: 1 right, 0 wrong, 2 no key"},
    {"sign_many", sign_many, METH_VARARGS, "(addresses, secret, [digest]) -> [der]"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_signatures", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__signatures(void) { return PyModule_Create(&module); }

/* The compiled matching kernel: sides of a book, and an epoch's queue worked off against them. See matching.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "matching_side.h"
#include "matching_values.h"

/* -- sides */

static int idle(const side *s) {
    if (s->busy) PyErr_SetString(PyExc_RuntimeError, "this side is being matched");
    return s->busy ? -1 : 0;
}

static PyObject *side_insert(PyObject *self, PyObject *order) {
    side *s = (side *)self;
    terms now = {0};
    PyObject *options = read_trade(order, &now), *id = options ? identity(order, ID) : NULL;
    if (id && (now.rate = number(order, RATE)) >= 0 && idle(s) == 0) put(s, order, id, &now);
    Py_XDECREF(options);
    Py_XDECREF(id);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *side_remove(PyObject *self, PyObject *id) {
    side *s = (side *)self;
    if (idle(s)) return NULL;
    resting *leaving = find(s, id);
    if (!leaving) return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *order = take_out(s, leaving);
    if (order) tidy(s);
    return order;
}

static PyObject *side_get(PyObject *self, PyObject *id) {
    const resting *there = find((side *)self, id);
    return there ? Py_NewRef(there->order) : PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *side_best(PyObject *self, PyObject *unused) {
    (void)unused;
    if (idle((side *)self)) return NULL;
    const resting *first = best((side *)self);
    return Py_NewRef(first ? first->order : Py_None);
}

static PyObject *side_copy(PyObject *self, PyObject *unused) {
    const side *s = (side *)self;
    side *twin = idle(s) ? NULL : (side *)Py_TYPE(self)->tp_alloc(Py_TYPE(self), 0);
    (void)unused;
    if (!twin) return NULL;
    twin->buys = s->buys;
    twin->serial = s->serial;
    const size_t count = COUNT(&s->resting, resting);
    if (!(twin->places = PyDict_Copy(s->places)) || vec_room(&twin->resting, s->resting.size) ||
        vec_room(&twin->heap, count * sizeof(rank)) || vec_room(&twin->spare, count * sizeof(uint32_t))) {
        Py_DECREF(twin);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    const vec *from[] = {&s->resting, &s->heap, &s->spare};
    vec *to[] = {&twin->resting, &twin->heap, &twin->spare};
    for (int i = 0; i < 3; i++) {
        if (from[i]->size) memcpy(to[i]->data, from[i]->data, from[i]->size);
        to[i]->size = from[i]->size;
    }
    for (size_t i = 0; i < count; i++) {
        Py_XINCREF(RESTING(twin)[i].order);
        Py_XINCREF(RESTING(twin)[i].id);
    }
    return (PyObject *)twin;
}

/* All orders, best first, as they are now. */
static PyObject *side_iter(PyObject *self) {
    side view = *(side *)self;
    PyObject *list = PyList_New(0), *result = NULL;
    view.heap = (vec){0};
    const vec *ranks = &((side *)self)->heap;
    if (list && vec_room(&view.heap, ranks->size + 1)) PyErr_NoMemory();
    else if (list) {
        if (ranks->size) memcpy(view.heap.data, ranks->data, ranks->size);
        view.heap.size = ranks->size;
        for (PyObject *order; view.heap.size && !PyErr_Occurred(); drop_rank(&view))
            if ((order = RESTING(&view)[HEAP(&view)->place].order)) PyList_Append(list, order);
        if (!PyErr_Occurred()) result = PyObject_GetIter(list);
    }
    vec_free(&view.heap);
    Py_XDECREF(list);
    return result;
}

static Py_ssize_t side_length(PyObject *self) { return PyDict_GET_SIZE(((side *)self)->places); }

static int side_contains(PyObject *self, PyObject *id) { return PyDict_Contains(((side *)self)->places, id); }

static void side_dealloc(PyObject *self) {
    side *s = (side *)self;
    for (size_t i = 0; i < COUNT(&s->resting, resting); i++) {
        Py_XDECREF(RESTING(s)[i].order);
        Py_XDECREF(RESTING(s)[i].id);
    }
    vec_free(&s->resting);
    vec_free(&s->heap);
    vec_free(&s->spare);
    Py_XDECREF(s->places);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *side_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"buys", "orders", NULL};
    PyObject *orders = NULL, *order;
    int buys;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "p|O:BookSide", names, &buys, &orders)) return NULL;
    PyObject *self = type->tp_alloc(type, 0), *iterator = NULL;
    int failed = !self;
    if (self) {
        ((side *)self)->buys = buys;
        failed = !(((side *)self)->places = PyDict_New()) || (orders && !(iterator = PyObject_GetIter(orders)));
    }
    while (!failed && iterator && (order = PyIter_Next(iterator))) {
        PyObject *done = side_insert(self, order);
        Py_DECREF(order);
        failed = !done;
        Py_XDECREF(done);
    }
    Py_XDECREF(iterator);
    if (failed || PyErr_Occurred()) Py_CLEAR(self);
    return self;
}

static PyMethodDef SIDE_METHODS[] = {
    {"insert", side_insert, METH_O, "Add an order, or replace the one with its ID, which keeps its place."},
    {"remove", side_remove, METH_O, "Take an order out by its ID; None if it is not here."},
    {"get", side_get, METH_O, "The order with an ID as it rests now, or None."},
    {"best", side_best, METH_NOARGS, "The first order, or None."},
    {"copy", side_copy, METH_NOARGS, "An independent side with the same orders."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "BookSide[Order]"},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods SIDE_SEQUENCE = {.sq_length = side_length, .sq_contains = side_contains};

/* Orders hold no references that could lead back to a side, so the garbage collector need not walk it. */
static PyTypeObject SIDE_TYPE = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twinlock.kernels._matching.BookSide",
    .tp_doc = "BookSide(buys: bool, orders=())\n\nOne side's orders, best first.",
    .tp_basicsize = sizeof(side),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = SIDE_METHODS,
    .tp_as_sequence = &SIDE_SEQUENCE,
    .tp_iter = side_iter,
    .tp_new = side_new,
    .tp_dealloc = side_dealloc,
};

/* -- the queue */

static PyObject *run_all(run *r, PyObject *make, PyObject *replace) {
    PyObject *result = NULL;
    if (read_queue(r) < 0) return NULL;
    if (idle(r->buys) || idle(r->sells)) return NULL;
    r->buys->busy = r->sells->busy = 1;
    if (match_queue(r) == 0) result = values_of(r, make, replace);
    r->buys->busy = r->sells->busy = 0;
    return result;
}

static PyObject *py_work_off(PyObject *self, PyObject *args) {
    PyObject *queue, *make, *replace;
    long long lot;
    run r = {0};
    (void)self;
    if (!PyArg_ParseTuple(args, "LO!O!OOO:work_off", &lot, &SIDE_TYPE, &r.buys, &SIDE_TYPE, &r.sells, &queue, &make,
                          &replace))
        return NULL;
    if (lot < 1 || !r.buys->buys || r.sells->buys) {
        PyErr_SetString(PyExc_ValueError, "a lot of at least 1, the buys and the sells are needed");
        return NULL;
    }
    r.lot = lot;
    PyObject *result = (r.queue = PySequence_Tuple(queue)) ? run_all(&r, make, replace) : NULL;
    run_free(&r);
    return result;
}

static PyMethodDef METHODS[] = {
    {"work_off", py_work_off, METH_VARARGS, "Match a shuffled queue against both sides, changing them."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module) {
    if (name_attributes() < 0 || PyType_Ready(&SIDE_TYPE) < 0) return -1;
    return PyModule_AddObjectRef(module, "BookSide", (PyObject *)&SIDE_TYPE);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, add_type}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_matching", "The compiled matching.", 0, METHODS,
                                    SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__matching(void) { return PyModuleDef_Init(&MODULE); }

/* A growing array of anything. */
#ifndef TWINLOCK_VEC_H
#define TWINLOCK_VEC_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    size_t size, room; /* bytes */
} vec;

static int vec_room(vec *v, size_t more) {
    if (v->size + more <= v->room) return 0;
    size_t room = v->room < 4096 ? 4096 : v->room + v->room / 2;
    if (room < v->size + more) room = v->size + more;
    uint8_t *data = realloc(v->data, room);
    if (!data) return -1;
    v->data = data;
    v->room = room;
    return 0;
}

static inline void *vec_push(vec *v, size_t size) {
    if (vec_room(v, size)) return NULL;
    void *at = v->data + v->size;
    v->size += size;
    return at;
}

static void vec_free(vec *v) {
    free(v->data);
    memset(v, 0, sizeof *v);
}

#define ROWS(v, type) ((type *)(v)->data)
#define COUNT(v, type) ((v)->size / sizeof(type))

/* For Py_BuildValue's "y#". A null pointer would become None: every array points somewhere, be it empty. */
#define BYTES_OF(v) (v).data ? (const char *)(v).data : "", (Py_ssize_t)(v).size

#endif

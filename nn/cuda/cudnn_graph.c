/* cudnn_graph.c - see cudnn_graph.h. */
#include "nn/cuda/cudnn_graph.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "nn/cuda/attn_cudnn.h"

#define MIN_VERSION 90800 /* plans from device properties; packed GQA backward */

static int fault(struct kj_cudnn *c, struct kj_err *err, const char *what,
                 cudnnStatus_t s)
{
    char why[256] = "";
    c->last_text(why, sizeof why);
    return kj_err_set(err, KJ_FAIL, "cuDNN, %s: %s%s%s", what, c->status_text(s),
                      *why ? ": " : "", why);
}

/* ---- the library ---- */

static int find(struct kj_cudnn *c, struct kj_err *err)
{
    const struct {
        const char *name;
        void **at;
    } names[] = {
        {"cudnnGetVersion", (void **)&c->version},
        {"cudnnCreate", (void **)&c->handle_new},
        {"cudnnDestroy", (void **)&c->handle_free},
        {"cudnnSetStream", (void **)&c->set_stream},
        {"cudnnGetErrorString", (void **)&c->status_text},
        {"cudnnGetLastErrorString", (void **)&c->last_text},
        {"cudnnBackendCreateDescriptor", (void **)&c->create},
        {"cudnnBackendDestroyDescriptor", (void **)&c->destroy},
        {"cudnnBackendFinalize", (void **)&c->finalize},
        {"cudnnBackendSetAttribute", (void **)&c->set},
        {"cudnnBackendGetAttribute", (void **)&c->get},
        {"cudnnBackendExecute", (void **)&c->execute},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].at = dlsym(c->lib, names[i].name);
        if (!*names[i].at)
            return kj_err_set(err, KJ_FAIL, "libcudnn.so.9 has no %s", names[i].name);
    }
    if (c->version() < MIN_VERSION)
        return kj_err_set(err, KJ_FAIL, "cuDNN %zu is too old: 9.8 is needed",
                          c->version());
    return KJ_OK;
}

/* Plans are made for the handle's GPU, as everybody makes them; or for the properties of
 * one that is not here. */
static int place(struct kj_cudnn *c, void *stream, const char *device_json,
                 struct kj_err *err)
{
    cudnnStatus_t s = CUDNN_STATUS_SUCCESS;
    if (!device_json) {
        if ((s = c->handle_new(&c->handle)) ||
            (s = c->set_stream(c->handle, (cudaStream_t)stream)))
            return fault(c, err, "handle", s);
        return KJ_OK;
    }
    if ((s = c->create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &c->device)) ||
        (s = c->set(c->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                    CUDNN_TYPE_CHAR, (int64_t)strlen(device_json), device_json)) ||
        (s = c->finalize(c->device)))
        return fault(c, err, "properties of the device", s);
    return KJ_OK;
}

int kj_cudnn_open(struct kj_cudnn **out, void *stream, const char *device_json,
                  struct kj_err *err)
{
    struct kj_cudnn *c = calloc(1, sizeof *c);
    int rc = c ? KJ_OK : kj_err_set(err, KJ_FATAL, "out of memory");
    *out = c;
    if (rc == KJ_OK && !(c->lib = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL)))
        rc = kj_err_set(err, KJ_FAIL, "no cuDNN: %s", dlerror());
    if (rc == KJ_OK)
        rc = find(c, err);
    if (rc == KJ_OK)
        rc = place(c, stream, device_json, err);
    if (rc != KJ_OK) {
        kj_cudnn_close(c);
        *out = NULL;
    }
    return rc;
}

void kj_cudnn_close(struct kj_cudnn *c)
{
    if (!c)
        return;
    if (c->device)
        c->destroy(c->device);
    if (c->handle)
        c->handle_free(c->handle);
    /* One that has touched the GPU stays, as the object does that opened it (open.cu). */
    if (c->lib && !c->handle && !c->device)
        dlclose(c->lib);
    free(c);
}

int64_t kj_cudnn_version(const struct kj_cudnn *c)
{
    return (int64_t)c->version();
}

/* ---- descriptors ---- */

static void keep(struct kj_dnn_graph *g, const char *what, cudnnStatus_t s)
{
    if (s && g->rc == KJ_OK) {
        g->rc = fault(g->c, g->err, what, s);
        kj_err_context(g->err, "%s", g->name);
    }
}

static kj_dnn make(struct kj_dnn_graph *g, cudnnBackendDescriptorType_t type)
{
    kj_dnn d = NULL;
    if (g->rc == KJ_OK && g->n_owned == KJ_DNN_OWNED)
        g->rc = kj_err_set(g->err, KJ_FAIL, "%s: too many parts", g->name);
    if (g->rc != KJ_OK)
        return NULL;
    keep(g, "descriptor", g->c->create(type, &d));
    if (d)
        g->owned[g->n_owned++] = d;
    return d;
}

static void set(struct kj_dnn_graph *g, kj_dnn d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    if (g->rc == KJ_OK)
        keep(g, "attribute", g->c->set(d, name, type, n, value));
}

/* A descriptor in a descriptor; NULL is left out. */
static void link(struct kj_dnn_graph *g, kj_dnn d, cudnnBackendAttributeName_t name,
                 kj_dnn value)
{
    if (value)
        set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finish(struct kj_dnn_graph *g, const char *what, kj_dnn d)
{
    if (g->rc == KJ_OK)
        keep(g, what, g->c->finalize(d));
}

static void add_op(struct kj_dnn_graph *g, const char *what, kj_dnn op)
{
    finish(g, what, op);
    if (g->rc == KJ_OK && g->n_ops == KJ_DNN_OPS)
        g->rc = kj_err_set(g->err, KJ_FAIL, "%s: too many operations", g->name);
    if (g->rc == KJ_OK)
        g->ops[g->n_ops++] = op;
}

kj_dnn kj_dnn_tensor(struct kj_dnn_graph *g, const struct kj_dnn_tensor *t)
{
    kj_dnn d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    bool inside = t->uid == 0;
    int64_t uid = inside ? g->next_uid++ : t->uid, align = 16;
    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t->type);
    set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, t->dim);
    set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, t->stride);
    set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inside);
    set(g, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &t->scalar);
    link(g, d, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, t->ragged);
    finish(g, "tensor", d);
    return d;
}

kj_dnn kj_dnn_pointwise(struct kj_dnn_graph *g, cudnnPointwiseMode_t mode,
                        cudnnDataType_t math, int axis, kj_dnn x, kj_dnn b, kj_dnn t,
                        kj_dnn y)
{
    kj_dnn p = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(g, p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &math);
    if (mode == CUDNN_POINTWISE_GEN_INDEX)
        set(g, p, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &(int64_t){axis});
    finish(g, "element-wise", p);
    kj_dnn o = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    link(g, o, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    link(g, o, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    link(g, o, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    link(g, o, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    link(g, o, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    add_op(g, "element-wise operation", o);
    return y;
}

kj_dnn kj_dnn_reduce(struct kj_dnn_graph *g, cudnnReduceTensorOp_t op, kj_dnn x,
                     kj_dnn y)
{
    kj_dnn r = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, r, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
        &op);
    set(g, r, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1,
        &(cudnnDataType_t){CUDNN_DATA_FLOAT});
    finish(g, "reduction", r);
    kj_dnn o = make(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    link(g, o, CUDNN_ATTR_OPERATION_REDUCTION_DESC, r);
    link(g, o, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    link(g, o, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    add_op(g, "reduction", o);
    return y;
}

kj_dnn kj_dnn_matmul(struct kj_dnn_graph *g, kj_dnn a, kj_dnn b, kj_dnn c, kj_dnn m,
                     kj_dnn n, kj_dnn k, bool pad)
{
    kj_dnn p = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(g, p, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1,
        &(cudnnDataType_t){CUDNN_DATA_FLOAT});
    if (pad)
        set(g, p, CUDNN_ATTR_MATMUL_PADDING_VALUE, CUDNN_TYPE_DOUBLE, 1, &(double){0});
    finish(g, "product", p);
    kj_dnn o = make(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_DESC, p);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n);
    link(g, o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k);
    add_op(g, "product", o);
    return c;
}

kj_dnn kj_dnn_reshape(struct kj_dnn_graph *g, kj_dnn x, kj_dnn y)
{
    kj_dnn o = make(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    link(g, o, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    link(g, o, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    add_op(g, "reshape", o);
    return y;
}

/* ---- plans ---- */

/* More configurations may be counted than returned, so the loop is over those
 * that come; the heuristics give the best first, and the first that can be
 * finalized is taken. */
static int choose(struct kj_dnn_graph *g, kj_dnn heuristics, kj_dnn *plan)
{
    struct kj_cudnn *c = g->c;
    kj_dnn config[16];
    int64_t n = 0;
    cudnnStatus_t s = CUDNN_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < 16; i++)
        config[i] = make(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (g->rc == KJ_OK)
        keep(g, "engines",
             c->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 16, &n, config));
    for (int64_t i = 0; i < n && g->rc == KJ_OK; i++) {
        kj_dnn p = NULL;
        if ((s = c->create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p)))
            break;
        s = c->set(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config[i]);
        if (!s)
            s = c->handle ? c->set(p, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                                   CUDNN_TYPE_HANDLE, 1, &c->handle)
                          : c->set(p, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->device);
        if (!s && !(s = c->finalize(p))) {
            *plan = p;
            return KJ_OK;
        }
        c->destroy(p);
    }
    keep(g, "no engine", s ? s : CUDNN_STATUS_NOT_SUPPORTED);
    return g->rc;
}

int kj_dnn_plan(struct kj_dnn_graph *g, kj_dnn *plan, int64_t *workspace)
{
    struct kj_cudnn *c = g->c;
    int64_t n;
    kj_dnn d = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(g, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_ops,
        g->ops);
    if (c->handle)
        set(g, d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle);
    finish(g, "graph", d);
    kj_dnn h = make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    link(g, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, d);
    set(g, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1,
        &(cudnnBackendHeurMode_t){CUDNN_HEUR_MODE_A});
    link(g, h, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, c->device);
    finish(g, "heuristics", h);
    *plan = NULL;
    if (g->rc == KJ_OK && choose(g, h, plan) == KJ_OK)
        keep(g, "workspace",
             c->get(*plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                    1, &n, workspace));
    if (g->rc != KJ_OK && *plan) {
        c->destroy(*plan);
        *plan = NULL;
    }
    return g->rc;
}

void kj_dnn_graph_release(struct kj_dnn_graph *g)
{
    for (int i = g->n_owned; i-- > 0;)
        g->c->destroy(g->owned[i]);
    g->n_owned = g->n_ops = 0;
}

int kj_dnn_run(struct kj_cudnn *c, kj_dnn plan, const int64_t *uids, void **pointers,
               int64_t n, void *workspace, struct kj_err *err)
{
    kj_dnn v = NULL;
    cudnnStatus_t s = c->create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &v);
    if (!s)
        s = c->set(v, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, uids);
    if (!s)
        s = c->set(v, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n,
                   pointers);
    if (!s)
        s = c->set(v, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                   &workspace);
    if (!s)
        s = c->finalize(v);
    if (!s)
        s = c->execute(c->handle, plan, v);
    if (v)
        c->destroy(v);
    return s ? fault(c, err, "execution", s) : KJ_OK;
}

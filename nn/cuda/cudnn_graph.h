/* cudnn_graph.h - operation graphs in cuDNN's C back end, without its noise.
 *
 * A graph is built op by op: kj_dnn_tensor and the op makers return what stands
 * in the graph, and the first fault is kept in the graph, so that callers look
 * once, at kj_dnn_plan. All descriptors belong to the graph.
 *
 * Thread-safety: one thread at a time per library.
 */
#ifndef KJ_NN_CUDA_CUDNN_GRAPH_H
#define KJ_NN_CUDA_CUDNN_GRAPH_H

#include <cudnn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;

typedef cudnnBackendDescriptor_t kj_dnn; /* cuDNN's own opaque pointer */

/* The functions in use, found at run time. */
struct kj_cudnn {
    void *lib;
    cudnnHandle_t handle; /* NULL where plans are made for a GPU elsewhere */
    kj_dnn device;        /* its properties, or NULL */
    size_t (*version)(void);
    cudnnStatus_t (*handle_new)(cudnnHandle_t *);
    cudnnStatus_t (*handle_free)(cudnnHandle_t);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    const char *(*status_text)(cudnnStatus_t);
    void (*last_text)(char *, size_t);
    cudnnStatus_t (*create)(cudnnBackendDescriptorType_t, kj_dnn *);
    cudnnStatus_t (*destroy)(kj_dnn);
    cudnnStatus_t (*finalize)(kj_dnn);
    cudnnStatus_t (*set)(kj_dnn, cudnnBackendAttributeName_t,
                         cudnnBackendAttributeType_t, int64_t, const void *);
    cudnnStatus_t (*get)(const kj_dnn, cudnnBackendAttributeName_t,
                         cudnnBackendAttributeType_t, int64_t, int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, kj_dnn, kj_dnn);
};

#define KJ_DNN_OPS   48
#define KJ_DNN_OWNED 256

struct kj_dnn_graph {
    struct kj_cudnn *c;
    const char *name; /* for messages */
    kj_dnn ops[KJ_DNN_OPS], owned[KJ_DNN_OWNED];
    int n_ops, n_owned;
    int64_t next_uid; /* for tensors that nobody binds */
    int rc;
    struct kj_err *err;
};

/* Four dimensions and strides; not bound: lives inside of the graph only. */
struct kj_dnn_tensor {
    int64_t uid; /* 0: not bound */
    cudnnDataType_t type;
    int64_t dim[4], stride[4];
    bool scalar;   /* bound to host memory, by value */
    kj_dnn ragged; /* offsets of documents in elements, or NULL */
};
kj_dnn kj_dnn_tensor(struct kj_dnn_graph *g, const struct kj_dnn_tensor *t);

/* y = mode(x, b, t); absent inputs are NULL; axis is looked at for GEN_INDEX. */
kj_dnn kj_dnn_pointwise(struct kj_dnn_graph *g, cudnnPointwiseMode_t mode,
                        cudnnDataType_t math, int axis, kj_dnn x, kj_dnn b, kj_dnn t,
                        kj_dnn y);
/* over the dimensions where y has 1 */
kj_dnn kj_dnn_reduce(struct kj_dnn_graph *g, cudnnReduceTensorOp_t op, kj_dnn x,
                     kj_dnn y);
/* c = a b in float32; m, n, k: lengths of documents that override the dimensions,
 * or NULL; pad: what lies behind them counts as 0. */
kj_dnn kj_dnn_matmul(struct kj_dnn_graph *g, kj_dnn a, kj_dnn b, kj_dnn c, kj_dnn m,
                     kj_dnn n, kj_dnn k, bool pad);
/* the same elements, other strides */
kj_dnn kj_dnn_reshape(struct kj_dnn_graph *g, kj_dnn x, kj_dnn y);

/* The best engine's plan, which is the caller's (c->destroy) and outlives the
 * graph, and the bytes of its workspace. */
int kj_dnn_plan(struct kj_dnn_graph *g, kj_dnn *plan, int64_t *workspace);
void kj_dnn_graph_release(struct kj_dnn_graph *g);

/* Run a plan with n tensors bound. */
int kj_dnn_run(struct kj_cudnn *c, kj_dnn plan, const int64_t *uids, void **pointers,
               int64_t n, void *workspace, struct kj_err *err);

#endif

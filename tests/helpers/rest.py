"""TensorFlow Serving's predict API, as its documentation describes it: JSON in, JSON out, on a loaded SavedModel.

A stand-in for the server: which signature, which tensors of which types and shapes a request becomes, and what the
answer looks like. https://www.tensorflow.org/tfx/serving/api_rest
"""

import json

import numpy as np
import tensorflow as tf


def predict(signatures, body):
    """The answer to `POST /v1/models/NAME:predict`, parsed; a ValueError where the server answers with an error."""
    request = json.loads(body)
    signature = signatures[request.get("signature_name", "serving_default")]
    specs = signature.structured_input_signature[1]
    if ("instances" in request) == ("inputs" in request):
        raise ValueError("one of instances and inputs")
    in_rows = "instances" in request
    columns = columns_of(request["instances"], specs) if in_rows else request["inputs"]
    if set(columns) != set(specs):
        raise ValueError(f"inputs {sorted(columns)}, wanted {sorted(specs)}")
    given = {name: tf.constant(np.array(columns[name]), spec.dtype) for name, spec in specs.items()}
    outputs = {name: tensor.numpy() for name, tensor in signature(**given).items()}
    if in_rows:
        return {"predictions": rows_of(outputs, len(request["instances"]))}
    lists = {name: values.tolist() for name, values in outputs.items()}
    return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}


def columns_of(instances, specs):
    """Rows become columns; where there is one input its name may be left out."""
    if any(spec.shape.rank == 0 or spec.shape[0] is not None for spec in specs.values()):
        raise ValueError("row format needs inputs that all have a batch in front")
    if len(specs) == 1 and not isinstance(instances[0], dict):
        return {next(iter(specs)): instances}
    return {name: [instance[name] for instance in instances] for name in instances[0]}


def rows_of(outputs, num_rows):
    """One output: its rows; several: an object a row."""
    if any(values.shape[:1] != (num_rows,) for values in outputs.values()):
        raise ValueError("row format needs outputs that all have the batch in front")
    if len(outputs) == 1:
        return next(iter(outputs.values())).tolist()
    return [{name: values[i].tolist() for name, values in outputs.items()} for i in range(num_rows)]

"""Placeholder."""
def write(e, quick):
    import json
    for k in ("about","supervised","moved","seconds"): print(k, e[k])
    for key,f in e["table"].items():
        print(key, {c:tuple(round(x,2) for x in t) for c,t in f.items()}, {c:tuple(round(x,2) for x in t) for c,t in e["bright"].get(key,{}).items()}.get("autoencoder_mse"))

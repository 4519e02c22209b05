# Triton with what the models of `tandem triton prepare` import. From the project's root:
#   docker build -f deploy/triton.Dockerfile -t tandem-triton .
ARG BASE=nvcr.io/nvidia/tritonserver:24.12-py3
FROM ${BASE}
COPY deploy/requirements/triton.txt /tmp/triton.txt
RUN pip install --no-cache-dir --break-system-packages --require-hashes --requirement /tmp/triton.txt
USER 10001
ENV HOME=/tmp
EXPOSE 8001
ENTRYPOINT ["tritonserver"]
CMD ["--model-repository=/models", "--model-control-mode=explicit", "--allow-metrics=false", "--exit-timeout-secs=5"]
